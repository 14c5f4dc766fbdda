"""Prompts that depend on the row, against one unpadded row with its own shift."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor

from tests.tiny_models import BOS, RECURRENT, random_ids, tiny_model
from tests.unpadded_reference import (
    CHOICES,
    ROWS,
    choice_scores,
    greedy_answer,
    relative_difference,
    shifted_row_logits,
)
from tuningfork.errors import PromptError
from tuningfork.models.artefacts import InputPrompt, InstancePrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.instance import add_shifts, answer_start, mean_states
from tuningfork.models.path import SamplingOptions
from tuningfork.models.prefix import backward_into

ARCHITECTURES = ("llama", "gpt2", "opt", "bloom", "gemma2")
LAYERS = (0, 1)
NUM_SHIFTED = 2
AT = [[4, 6, 7], [0], [15, 16], [1, 2]]
"""Where the tokens of answers are predicted; the first of row 0 is an earlier turn."""
STARTS = [7, 1, 16, 2]


def instance_prompt(model: FrozenModel, *, num_shifted: int = NUM_SHIFTED) -> InstancePrompt:
    """A prompt whose shifts are as large as the embeddings and differ by row."""
    front = model.embed([BOS, *random_ids(4, seed=31)]).float()
    width = front.shape[1]
    generator = torch.Generator().manual_seed(5)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    num_features, spread = len(LAYERS) * width, float(front.std())
    return InstancePrompt(
        front=front,
        shift=drawn(num_shifted, width) * spread,
        down=drawn(num_features, 3) / num_features**0.5,
        up=drawn(3, num_shifted * width) * spread,
        mean=drawn(num_features) * spread,
        scale=drawn(num_features).abs() * spread + spread,
        layers_read=LAYERS,
    )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_logits_equal_one_unpadded_row_with_its_own_shift(architecture: str) -> None:
    model = tiny_model(architecture)
    prompt = instance_prompt(model)
    expected = torch.cat(
        [
            shifted_row_logits(model.network, prompt, row, start)[at]
            for row, start, at in zip(ROWS, STARTS, AT, strict=True)
        ]
    )
    with torch.no_grad():
        found = model.logits(ROWS, model.prefix([prompt]), AT)
        unshifted = model.logits(ROWS, model.prefix([InputPrompt(prompt.front)]), AT)
    assert (found - expected).abs().max() <= 1e-4
    assert (unshifted - expected).abs().max() > 0.1


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_score_equals_the_sum_of_log_probabilities(architecture: str) -> None:
    model = tiny_model(architecture)
    prompt = instance_prompt(model)
    found = model.score(ROWS, model.prefix([prompt]), CHOICES)
    expected = choice_scores(partial(shifted_row_logits, model.network, prompt))
    assert (found - expected).abs().max() <= 1e-4


def test_greedy_answers_equal_one_unpadded_row_computed_again() -> None:
    model = tiny_model("llama")
    prompt = instance_prompt(model)
    found = model.generate(ROWS, model.prefix([prompt]), SamplingOptions(max_new_tokens=4))
    for row, answer in zip(ROWS, found, strict=True):
        assert answer == greedy_answer(partial(shifted_row_logits, model.network, prompt), row, 4)


@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
def test_gradients_equal_those_of_unpadded_rows(architecture: str) -> None:
    model = tiny_model(architecture)
    learned = ("shift", "down", "up")

    def gradients(prompt: InstancePrompt) -> list[Tensor]:
        return [getattr(prompt, name).grad for name in learned]

    def backward(logits: Tensor) -> None:
        logits.log_softmax(dim=-1)[:, 7].sum().backward()  # type: ignore[no-untyped-call]

    def leaves() -> InstancePrompt:
        prompt = instance_prompt(model)
        for name in learned:
            getattr(prompt, name).requires_grad_(True)
        return prompt

    ours, theirs = leaves(), leaves()
    prefix = model.prefix([ours])
    detached = prefix.detached()
    for rows, at in ((ROWS[:2], AT[:2]), (ROWS[2:], AT[2:])):
        backward(model.logits(rows, detached, at))
    backward_into(prefix, detached)
    for row, start, places in zip(ROWS, STARTS, AT, strict=True):
        backward(shifted_row_logits(model.network, theirs, row, start)[places])
    assert relative_difference(gradients(ours), gradients(theirs)) <= 1e-4
    assert ours.front.grad is None


def test_features_are_means_over_the_tokens_of_each_row() -> None:
    model = tiny_model("llama")
    prefix = model.prefix([[BOS, 7]])
    found = model.features(ROWS, prefix, LAYERS)
    for row, features in zip(ROWS, found, strict=True):
        alone = model.features([row], prefix, LAYERS)[0]
        assert (features - alone).abs().max() <= 1e-5
        assert (features[: model.hidden_size] - model.embed(row).float().mean(dim=0)).abs().max() <= 1e-6


@pytest.mark.parametrize(
    ("positions", "start"), [([], 5), ([3], 4), ([2, 3], 3), ([0, 2, 3], 3), ([0, 1, 3], 4), ([0], 1)]
)
def test_the_last_answer_begins_behind_the_first_of_its_positions(positions: list[int], start: int) -> None:
    assert answer_start(positions, [9] * 5) == start


def test_states_of_padding_do_not_count() -> None:
    states = torch.tensor([[[1.0], [3.0], [50.0]], [[2.0], [50.0], [50.0]]])
    assert mean_states([states, states * 10], torch.tensor([2, 1]), [1, 0]).tolist() == [[20, 2], [20, 2]]


def test_shifts_stand_before_the_end_of_each_row() -> None:
    shifts = torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]])
    found = add_shifts(torch.zeros(2, 4, 1), shifts, torch.tensor([3, 1]))
    assert found[..., 0].tolist() == [[0, 1, 2, 0], [4, 0, 0, 0]]


def test_a_prompt_that_does_not_fit_is_refused() -> None:
    model = tiny_model("llama")
    prompt = instance_prompt(model)
    with pytest.raises(PromptError, match="an instance prompt must be the first segment"):
        model.prefix([[BOS], prompt])
    high = replace(prompt, layers_read=(0, 99))
    with pytest.raises(PromptError, match="the prompt reads layer 99, the model has "):
        model.prefix([high])
    with pytest.raises(PromptError, match="cannot be mixed in one batch"):
        model.logits(ROWS[:2], [model.prefix([prompt])] * 2, [[0], [0]])


@pytest.mark.parametrize("architecture", RECURRENT)
def test_the_plain_path_has_no_place_for_it(architecture: str) -> None:
    model = tiny_model(architecture)
    front = model.embed([BOS]).float()
    width = front.shape[1]
    prompt = InstancePrompt(
        front, torch.zeros(1, width), torch.zeros(width, 1), torch.zeros(1, width),
        torch.zeros(width), torch.ones(width), (0,),
    )  # fmt: skip
    with pytest.raises(PromptError, match="takes the plain path, where an instance prompt cannot be used"):
        model.prefix([prompt])
    with pytest.raises(PromptError, match="features of rows are not read by "):
        model.features([[BOS]], model.prefix([[BOS]]), (0,))
