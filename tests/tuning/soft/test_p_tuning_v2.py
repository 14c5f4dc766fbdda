import math
from pathlib import Path

import pytest
import torch

from tests.tiny_models import RECURRENT, tiny_model
from tests.training.toy_task import (
    ANSWERS,
    TEXT,
    TRAINSET,
    assert_checkpoints_equal,
    toy_candidate,
    train_toy,
)
from tests.unpadded_reference import CHOICES, ROWS, last_state_after, text_key_values
from tuningfork.errors import PromptError
from tuningfork.models.artefacts import HeadedPrefix
from tuningfork.models.frozen import FrozenModel
from tuningfork.training.checkpoint import Checkpoint
from tuningfork.training.loop import Training
from tuningfork.training.objectives import ChoiceObjective, TokenObjective
from tuningfork.tuning.soft.method import begin
from tuningfork.tuning.soft.p_tuning_v2 import PTuningV2

ARCHITECTURES = ("llama", "gpt2", "opt", "bloom", "gemma2")


def start(model: FrozenModel, num_labels: int) -> HeadedPrefix:
    method = PTuningV2()
    return method.materialize(begin(method, model, model.embed(TEXT).float(), num_labels=num_labels))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_start_has_the_keys_and_values_of_the_text_and_no_favourite(architecture: str) -> None:
    model = tiny_model(architecture)
    prompt = start(model, len(CHOICES))
    for found, expected in zip(prompt.prefix.layers, text_key_values(model, TEXT).layers, strict=True):
        assert found is not None
        assert expected is not None
        for one, other in zip(found, expected, strict=True):
            assert (one - other).abs().max() <= 1e-5
    scores = model.score(ROWS, model.prefix([prompt]), CHOICES)
    assert torch.allclose(scores, torch.full_like(scores, -math.log(len(CHOICES))), atol=1e-6)


def test_the_first_gradient_of_the_head_is_that_of_a_softmax_of_equal_labels() -> None:
    model, method = tiny_model("llama"), PTuningV2()
    module = begin(method, model, model.embed(TEXT).float(), num_labels=2)
    losses = ChoiceObjective(ANSWERS, normalizes_length=True).losses(
        model, model.prefix([method.materialize(module)]), TRAINSET
    )
    torch.autograd.backward(losses.sum())
    prefix = text_key_values(model, TEXT)
    layers = [pair for pair in prefix.layers if pair is not None]
    expected = torch.zeros(2, model.hidden_size)
    for row in TRAINSET:
        assert row.choice is not None
        words = row.ids[: row.label_positions[0]]
        wrong = torch.tensor([0.5, 0.5]) - torch.eye(2)[row.choice]
        expected += torch.outer(wrong, last_state_after(model.network, layers, words).detach())
    weight = dict(module.named_parameters())["weight"]
    assert weight.grad is not None
    assert (weight.grad - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_seeds_differ_in_nothing_that_is_drawn() -> None:
    model, method = tiny_model("llama"), PTuningV2()
    first, second = (
        begin(method, model, model.embed(TEXT).float(), torch.Generator().manual_seed(seed), num_labels=3)
        for seed in (0, 1)
    )
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_label_that_no_row_has_keeps_its_place() -> None:
    model = tiny_model("llama")
    objective = ChoiceObjective((*ANSWERS, (30, 31)), normalizes_length=False)
    candidate = toy_candidate(model, PTuningV2(), objective=objective)
    assert {row.choice for row in TRAINSET} == {0, 1}
    training = Training(model, candidate, TRAINSET, higher_is_better=True)
    training.step()
    prompt = training.outcome().prompt
    assert isinstance(prompt, HeadedPrefix)
    assert prompt.head.num_labels == 3


@pytest.mark.parametrize("stop", [1, 5, 10])
def test_a_resumed_training_is_bit_equal_to_an_unbroken_one(stop: int, tmp_path: Path) -> None:
    model = tiny_model("llama")
    candidate = toy_candidate(model, PTuningV2(), patience=0)
    train_toy(model, candidate, tmp_path / "whole")
    train_toy(model, candidate, tmp_path / "parts", until_step=stop)
    train_toy(model, candidate, tmp_path / "parts")
    whole = Checkpoint.load(tmp_path / "whole")
    assert {"weight", "bias"} < whole.module.keys()
    assert whole.module["weight"].abs().max() > 0
    assert whole.progress.step == candidate.arguments.max_steps
    assert_checkpoints_equal(Checkpoint.load(tmp_path / "parts"), whole)


def test_without_labels_it_is_refused_before_training() -> None:
    model = tiny_model("llama")
    candidate = toy_candidate(model, PTuningV2(), objective=TokenObjective())
    with pytest.raises(
        PromptError, match=r"needs a classification task .*\(--objective labels\); .* use prefix tuning"
    ):
        Training(model, candidate, TRAINSET, higher_is_better=True)


@pytest.mark.parametrize("architecture", RECURRENT)
def test_a_model_on_the_plain_path_is_refused(architecture: str) -> None:
    with pytest.raises(PromptError, match=r"is not possible with .*; use prompt tuning"):
        start(tiny_model(architecture), 2)
