"""Trainings side by side against the same trainings one by one."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import dropout

from tests.tiny_models import tiny_model
from tests.training.bank_task import assignments_of, varied_candidates
from tests.training.toy_task import (
    TRAINSET,
    RecordingSink,
    assert_checkpoints_equal,
    forgotten_rows,
    toy_candidate,
    toy_objective,
)
from tests.unpadded_reference import relative_difference
from tuningfork.errors import PromptError
from tuningfork.events import NullSink
from tuningfork.models.artefacts import InputPrompt
from tuningfork.training import loop
from tuningfork.training.checkpoint import Checkpoint
from tuningfork.training.loop import Assignment, Training, TrainingOutcome, train_bank
from tuningfork.training.step import PromptBatch, accumulate_bank, accumulate_gradients
from tuningfork.tuning.soft.method import KINDS_WITH_OWN_FORWARDS, SoftMethod, begin
from tuningfork.tuning.soft.registry import SOFT_METHODS

ROOT = Path(__file__).parents[2]
MIXING = [m for m in SOFT_METHODS.values() if m.kind not in KINDS_WITH_OWN_FORWARDS]
OWNING = [m for m in SOFT_METHODS.values() if m.kind in KINDS_WITH_OWN_FORWARDS]


def run_bank(assignments: Sequence[Assignment], **options: Any) -> list[TrainingOutcome]:
    return train_bank(assignments, metric="probability", **{"sink": NullSink(), **options})


@pytest.mark.parametrize("mixing", MIXING, ids=lambda method: method.name)
def test_a_training_in_a_bank_equals_the_same_training_alone(mixing: SoftMethod, tmp_path: Path) -> None:
    model = tiny_model("llama")
    candidates = varied_candidates(model, mixing)
    together = RecordingSink()
    found = run_bank(assignments_of(model, candidates, tmp_path / "bank"), sink=together)
    for place, candidate in list(enumerate(candidates))[1:4]:
        alone = RecordingSink()
        (expected,) = run_bank(assignments_of(model, [candidate], tmp_path / "alone"), sink=alone)
        steps = [event for event in together.steps if event.candidate == candidate.name]
        assert [event.step for event in steps] == list(range(1, 21))
        assert [event.loss for event in steps] == pytest.approx(alone.losses, rel=1e-4)
        rates = [event.learning_rate for event in alone.steps]
        assert [event.learning_rate for event in steps] == rates
        norms = [event.gradient_norm for event in alone.steps]
        assert [event.gradient_norm for event in steps] == pytest.approx(norms, rel=1e-3)
        assert found[place].progress.best_step == expected.progress.best_step
        difference = relative_difference(found[place].prompt.tensors(), expected.prompt.tensors())
        assert difference < 1e-4


@pytest.mark.parametrize("micro_batch_size", [1, 7, 1000])
def test_the_cut_into_micro_batches_changes_nothing(micro_batch_size: int) -> None:
    model = tiny_model("llama")

    def taken(size: int) -> tuple[list[float], list[Any]]:
        modules = [begin(method, model, model.embed(range(2 + k)).float()) for k, method in enumerate(MIXING)]
        batches = [
            PromptBatch(method.materialize(module), TRAINSET[k : k + 3 + k])
            for k, (method, module) in enumerate(zip(MIXING, modules, strict=True))
        ]
        losses = accumulate_bank(model, batches, micro_batch_size=size)
        return losses, [parameter.grad for module in modules for parameter in module.parameters()]

    expected_losses, expected = taken(4)
    losses, found = taken(micro_batch_size)
    assert losses == pytest.approx(expected_losses, rel=1e-5)
    assert relative_difference(found, expected) < 1e-5


def test_each_prompt_is_divided_by_its_own_count() -> None:
    model, method = tiny_model("llama"), SOFT_METHODS["prompt_tuning"]
    modules = [begin(method, model, model.embed([5, 9]).float()) for _ in range(2)]
    few, many = TRAINSET[:1], TRAINSET[1:8]
    losses = accumulate_bank(
        model,
        [PromptBatch(method.materialize(m), rows) for m, rows in zip(modules, (few, many), strict=True)],
        micro_batch_size=16,
    )
    for module, rows, loss in zip(modules, (few, many), losses, strict=True):
        alone = begin(method, model, model.embed([5, 9]).float())
        expected = accumulate_gradients(model, method.materialize(alone), rows, micro_batch_size=16)
        assert loss == pytest.approx(expected, rel=1e-5)
        gradients = [[p.grad for p in m.parameters() if p.grad is not None] for m in (module, alone)]
        assert relative_difference(*gradients) < 1e-5


def test_a_training_that_stops_early_leaves_the_others_going(tmp_path: Path) -> None:
    model = tiny_model("llama")
    candidates = varied_candidates(model, SOFT_METHODS["prompt_tuning"], patience=2, max_steps=12)
    assignments = assignments_of(model, candidates[:2], tmp_path)
    hopeless = assignments_of(model, candidates[2:3], tmp_path, valset=forgotten_rows(model))
    outcomes = run_bank([*assignments, *hopeless])
    assert [outcome.progress.step for outcome in outcomes] == [12, 12, 4]
    assert all(outcome.progress.is_finished for outcome in outcomes)


@pytest.mark.parametrize("stop", [1, 3, 6, 11])
def test_a_resumed_bank_is_bit_equal_to_an_unbroken_one(stop: int, tmp_path: Path) -> None:
    model = tiny_model("llama")
    candidates = varied_candidates(model, SOFT_METHODS["residual_prompt_tuning"], max_steps=14)
    unbroken, resumed = RecordingSink(), RecordingSink()
    run_bank(assignments_of(model, candidates, tmp_path / "unbroken"), sink=unbroken)
    for until in (stop, None):
        run_bank(assignments_of(model, candidates, tmp_path / "resumed"), sink=resumed, until_step=until)
        torch.manual_seed(99)
    assert resumed.events == unbroken.events
    for candidate in candidates:
        assert_checkpoints_equal(
            Checkpoint.load(tmp_path / "resumed" / candidate.name),
            Checkpoint.load(tmp_path / "unbroken" / candidate.name),
        )


def test_a_bank_cut_off_between_two_checkpoints_goes_on_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written one by one, the last file of one would be of a later step than that of the next."""
    model = tiny_model("llama")
    candidates = varied_candidates(model, SOFT_METHODS["prompt_tuning"], max_steps=8)
    run_bank(assignments_of(model, candidates, tmp_path / "unbroken"))
    renames = 0
    replace_file = Path.replace

    def fail_on_the_third(self: Path, target: Path) -> Path:
        nonlocal renames
        renames += target.name.startswith("candidate")
        if renames == len(candidates) + 3:
            raise KeyboardInterrupt
        return replace_file(self, target)

    monkeypatch.setattr(Path, "replace", fail_on_the_third)
    with pytest.raises(KeyboardInterrupt):
        run_bank(assignments_of(model, candidates, tmp_path / "cut"))
    monkeypatch.undo()
    run_bank(assignments_of(model, candidates, tmp_path / "cut"))
    for candidate in candidates:
        assert_checkpoints_equal(
            Checkpoint.load(tmp_path / "cut" / candidate.name),
            Checkpoint.load(tmp_path / "unbroken" / candidate.name),
        )


def test_what_one_training_draws_at_random_does_not_depend_on_the_others(tmp_path: Path) -> None:
    class Dropped:
        """Prompt tuning with dropout."""

        name, peft_type, kind, equals_text_at_start = "prompt_tuning", None, "input", False
        start = SOFT_METHODS["prompt_tuning"].start

        def materialize(self, module: Any) -> InputPrompt:
            return InputPrompt(dropout(module.embeddings))

    model = tiny_model("llama")
    candidates = varied_candidates(model, Dropped(), max_steps=6)[:3]  # type: ignore[arg-type]
    together = RecordingSink()
    run_bank(assignments_of(model, candidates, tmp_path / "bank"), sink=together)
    for candidate in candidates:
        alone = RecordingSink()
        run_bank(assignments_of(model, [candidate], tmp_path / "alone"), sink=alone)
        losses = [event.loss for event in together.steps if event.candidate == candidate.name]
        assert losses == pytest.approx(alone.losses, rel=1e-4)


@pytest.mark.parametrize("owning", OWNING, ids=lambda method: method.name)
def test_prompts_that_need_forwards_of_their_own_are_refused_beside_others(owning: SoftMethod) -> None:
    model = tiny_model("llama")
    objective = toy_objective(owning)
    candidates = [
        toy_candidate(model, method, objective=objective)
        for method in (owning, SOFT_METHODS["prompt_tuning"])
    ]
    trainings = [Training(model, candidate, TRAINSET, higher_is_better=True) for candidate in candidates]
    with pytest.raises(PromptError, match="cannot be mixed in one batch"):
        loop.step_together(trainings)


def test_all_rows_of_a_bank_are_in_the_same_forwards(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")
    path: Any = model._path
    forwards = []
    call = path._call

    def counted(embeddings: torch.Tensor, *arguments: Any, **more: Any) -> Any:
        forwards.append(len(embeddings))
        return call(embeddings, *arguments, **more)

    monkeypatch.setattr(path, "_call", counted)
    candidates = varied_candidates(model, SOFT_METHODS["prompt_tuning"], micro_batch_size=64)[:3]
    trainings = [Training(model, candidate, TRAINSET, higher_is_better=True) for candidate in candidates]
    loop.step_together(trainings)
    assert forwards == [3, 15]


@pytest.mark.slow
def test_banks_killed_at_random_moments_end_bit_equal_to_unbroken_ones(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "tests.training.killed_training", str(tmp_path), "4", "bank"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) >= 3
    names = [path.name for path in (tmp_path / "unbroken").iterdir()]
    assert len(names) == 5
    for name in names:
        assert_checkpoints_equal(
            Checkpoint.load(tmp_path / "killed" / name), Checkpoint.load(tmp_path / "unbroken" / name)
        )
