import copy
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from tests.tiny_models import build_model
from tests.training.test_joint import joint_tasks, never
from tests.training.test_step import ROWS, reference_loss
from tests.training.toy_task import TEXT, RecordingSink, assert_checkpoints_equal, toy_candidate
from tests.unpadded_reference import random_embeddings, relative_difference
from tuningfork.models.artefacts import InputPrompt, UnadaptedPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.training.checkpoint import Checkpoint
from tuningfork.training.joint import JointMethod, JointTask, JointTraining
from tuningfork.training.loop import train
from tuningfork.training.step import accumulate_gradients
from tuningfork.tuning.soft.method import begin
from tuningfork.tuning.soft.prompt_tuning import PromptTuning
from tuningfork.tuning.soft.registry import SOFT_METHODS
from tuningfork.tuning.weights.instructed import AllWeights, LowRankWeights, words
from tuningfork.tuning.weights.low_rank import LowRankSettings

SETTINGS = LowRankSettings(rank=2, alpha=4, learning_rate=0.01)


def joint(model: FrozenModel, method: JointMethod, tasks: list[JointTask], rate: float) -> JointTraining:
    plain = toy_candidate(model, PromptTuning(), patience=0, learning_rate=rate, weight_decay=0.0)
    candidate = replace(plain, name="weights", method=method)
    return JointTraining(model, candidate, method, tasks, sampling="proportional")


def front(model: FrozenModel) -> list[UnadaptedPrompt]:
    """The text for one task, virtual tokens for the other."""
    return [words(TEXT, 32), InputPrompt(random_embeddings(model.network, 4, seed=3))]


@pytest.mark.parametrize("micro_batch_size", [1, 4, 100])
@pytest.mark.parametrize("prompt", ["words", "virtual tokens", "idpg"])
def test_gradients_of_all_weights_equal_those_of_whole_rows(prompt: str, micro_batch_size: int) -> None:
    model = build_model("llama")
    first: UnadaptedPrompt = InputPrompt(model.embed(TEXT).float())
    if prompt == "virtual tokens":
        first = front(model)[1]
    if prompt == "idpg":
        idpg = SOFT_METHODS["idpg"]
        module = begin(idpg, model, model.embed(TEXT).float())
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(
                    torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)), alpha=0.1
                )
        first = cast(UnadaptedPrompt, idpg.materialize(module).detached())
    plain = copy.deepcopy(model.network)
    used: UnadaptedPrompt = words(TEXT, 32) if prompt == "words" else first
    method = AllWeights([used])
    module = begin(method, model, torch.zeros(0, 32))
    loss = accumulate_gradients(model, method.prompt_of(module, 0), ROWS, micro_batch_size=micro_batch_size)
    cast(nn.Module, plain).requires_grad_(True)
    reference = build_model("llama")
    reference.network = plain
    if prompt == "words":
        first = InputPrompt(reference.embed(TEXT))
    expected = reference_loss(reference, first, ROWS)
    expected.backward()  # type: ignore[no-untyped-call]
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    pairs = [
        (cast(Tensor, ours.grad), cast(Tensor, theirs.grad))
        for ours, theirs in zip(model.network.parameters(), plain.parameters(), strict=True)
    ]
    assert relative_difference(*map(list, zip(*pairs, strict=True))) < 1e-4


@pytest.mark.parametrize("kind", ["all", "low rank"])
def test_weights_are_learned_and_a_break_changes_nothing(kind: str, tmp_path: Path) -> None:
    sinks = {"unbroken": RecordingSink(), "resumed": RecordingSink()}
    for name, stops in (("unbroken", [None]), ("resumed", [2, 7, None])):
        for stop in stops:
            model = build_model("llama")
            method: JointMethod = (
                AllWeights(front(model)) if kind == "all" else LowRankWeights(front(model), SETTINGS)
            )
            training = joint(model, method, joint_tasks(model), 3e-3 if kind == "all" else 0.03)
            train(
                training,
                never,
                metric="loss",
                sink=sinks[name],
                checkpoint_path=tmp_path / name,
                until_step=stop,
            )
    assert sinks["resumed"].events == sinks["unbroken"].events
    assert_checkpoints_equal(Checkpoint.load(tmp_path / "resumed"), Checkpoint.load(tmp_path / "unbroken"))
    losses = [event.log_loss for event in sinks["unbroken"].validations]
    assert min(losses) < losses[0] - 0.1


def test_a_training_settles_on_its_best_weights(tmp_path: Path) -> None:
    model = build_model("llama")
    # So fast that every step harms.
    training = joint(model, AllWeights(front(model)), joint_tasks(model), 3.0)
    train(training, never, metric="loss", sink=RecordingSink(), checkpoint_path=tmp_path / "c")
    stored = Checkpoint.load(tmp_path / "c")
    assert any(not torch.equal(stored.module[name], stored.best_module[name]) for name in stored.module)
    training.settle()
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(tensor, stored.best_module[f"network.{name}"]), name


def test_prompts_stay_as_they_are_in_front_of_their_tasks(tmp_path: Path) -> None:
    model = build_model("llama")
    prompts = front(model)
    virtual = prompts[1].tensors()[0].clone()
    method = LowRankWeights(prompts, SETTINGS)
    training = joint(model, method, joint_tasks(model), 0.03)
    train(training, never, metric="loss", sink=RecordingSink(), checkpoint_path=tmp_path / "c", until_step=3)
    found = training.prompts()
    assert torch.equal(found[1].tensors()[0], virtual)
    assert torch.equal(prompts[1].tensors()[0], virtual)
    assert [prompt.num_virtual_tokens for prompt in found] == [0, 4]
    assert method.materialize(training._module).num_virtual_tokens == 0
