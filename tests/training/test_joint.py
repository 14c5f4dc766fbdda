from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from tests.training.test_step import reference_loss
from tests.training.toy_task import (
    ANSWERS,
    TEXT,
    RecordingSink,
    assert_checkpoints_equal,
    toy_candidate,
    toy_rows,
    toy_validation,
)
from tests.unpadded_reference import relative_difference
from tuningfork.events import NullSink
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.prefix import PrefixState
from tuningfork.training.checkpoint import Checkpoint, Validation
from tuningfork.training.joint import DrawnRows, JointTask, JointTraining, Sampling
from tuningfork.training.loop import Candidate, train
from tuningfork.training.objectives import ChoiceObjective, TokenObjective
from tuningfork.tuning.soft.prompt_tuning import PromptTuning
from tuningfork.tuning.soft.shared_prompt import SharedPrompt


def joint_tasks(model: FrozenModel) -> list[JointTask]:
    """Two tasks of different sizes and losses."""
    choose = ChoiceObjective(ANSWERS, normalizes_length=False)
    few, many, held_out = toy_rows(3, seed=5), toy_rows(9), toy_rows(4, seed=1)
    return [
        JointTask("few", few, choose, toy_validation(model, held_out, choose)),
        JointTask("many", many, TokenObjective(), toy_validation(model, held_out)),
    ]


def candidate_of(model: FrozenModel, method: SharedPrompt, **arguments: Any) -> Candidate:
    plain = toy_candidate(model, PromptTuning(), patience=0, **arguments)
    return replace(plain, name="joint", method=method)


def joint_training(
    model: FrozenModel, sampling: Sampling = "proportional", **arguments: Any
) -> JointTraining:
    method = SharedPrompt(2)
    candidate = candidate_of(model, method, **arguments)
    return JointTraining(model, candidate, method, joint_tasks(model), sampling=sampling)


def never(_prefix: PrefixState) -> Validation:
    raise AssertionError("each task has its own judge")


def run(
    training: JointTraining, path: Path, *, until: int | None = None, sink: RecordingSink | None = None
) -> None:
    train(training, never, metric="loss", sink=sink or NullSink(), checkpoint_path=path, until_step=until)


@pytest.mark.parametrize("micro_batch_size", [1, 2, 12])
def test_gradients_are_those_of_all_rows_alike(model: FrozenModel, micro_batch_size: int) -> None:
    tasks = joint_tasks(model)
    training = joint_training(model, micro_batch_size=micro_batch_size, batch_size=12)
    module = training._module
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    loss = training._gradients(range(12))
    found = [cast(Tensor, parameter.grad).clone() for parameter in module.parameters()]
    module.zero_grad()
    method = SharedPrompt(2)
    losses: list[Tensor] = []
    for number, task in enumerate(tasks):
        prompt = method.prompt_of(module, number)
        if number:
            losses.append(reference_loss(model, prompt, task.rows))
        else:
            losses.append(task.objective.losses(model, model.prefix([prompt]), task.rows).mean())
    expected = 0.25 * losses[0] + 0.75 * losses[1]
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    assert relative_difference(found, torch.autograd.grad(expected, list(module.parameters()))) < 1e-4


def test_rows_are_drawn_in_proportion_or_evenly(model: FrozenModel) -> None:
    tasks = joint_tasks(model)
    proportional, even = DrawnRows(tasks, "proportional"), DrawnRows(tasks, "even")
    assert Counter(number for number, _ in proportional.places) == {0: 3, 1: 9}
    assert Counter(number for number, _ in even.places) == {0: 9, 1: 9}
    assert Counter(even.places) == {(0, 0): 3, (0, 1): 3, (0, 2): 3} | {(1, index): 1 for index in range(9)}
    assert list(proportional) == [*tasks[0].rows, *tasks[1].rows]
    assert proportional[2:5] == [tasks[0].rows[2], *tasks[1].rows[:2]]
    with pytest.raises(ValueError, match="task none has no rows to learn from"):
        DrawnRows([JointTask("none", [], TokenObjective())], "even")


def test_every_task_counts_alike_on_validation(model: FrozenModel) -> None:
    training = joint_training(model)
    with torch.no_grad():
        found = training._judged(never)
        each = [
            task.validate(model.prefix([SharedPrompt(2).prompt_of(training._module, number)]))
            for number, task in enumerate(joint_tasks(model))
            if task.validate is not None
        ]
    assert (found.metric, found.num_rows) == (None, 8)
    assert found.log_loss == pytest.approx((each[0].log_loss + each[1].log_loss) / 2)
    assert each[0].log_loss != each[1].log_loss


def test_tasks_are_learned_together_and_a_break_changes_nothing(model: FrozenModel, tmp_path: Path) -> None:
    unbroken, resumed = RecordingSink(), RecordingSink()
    run(joint_training(model, "even"), tmp_path / "unbroken", sink=unbroken)
    for stop in (1, 5, None):
        run(joint_training(model, "even"), tmp_path / "resumed", until=stop, sink=resumed)
        torch.manual_seed(99)
    assert resumed.events == unbroken.events
    assert_checkpoints_equal(Checkpoint.load(tmp_path / "resumed"), Checkpoint.load(tmp_path / "unbroken"))
    validations = [event.log_loss for event in unbroken.validations]
    assert min(validations) < validations[0]


def test_what_is_kept_is_the_best_on_validation(model: FrozenModel, tmp_path: Path) -> None:
    training = joint_training(model)
    run(training, tmp_path / "checkpoint")
    stored = Checkpoint.load(tmp_path / "checkpoint")
    best = training.outcome().prompt
    assert torch.equal(best.tensors()[0], SharedPrompt(2).materialize(_module(stored.best_module)).embeddings)


def _module(state: dict[str, Tensor]) -> nn.Module:
    module = nn.Module()
    for name, tensor in state.items():
        setattr(module, name, nn.Parameter(tensor))
    return module


def test_the_text_is_where_it_starts(model: FrozenModel) -> None:
    training = joint_training(model)
    for number in (0, 1):
        prompt = SharedPrompt(2).prompt_of(training._module, number)
        assert torch.equal(prompt.embeddings, model.embed(TEXT).float())
