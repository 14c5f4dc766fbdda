import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.tiny_models import tiny_model
from tests.training.killed_training import MAX_STEPS
from tests.training.toy_task import (
    TEXT,
    TRAINSET,
    VALSET,
    RecordingSink,
    assert_checkpoints_equal,
    forgotten_rows,
    toy_candidate,
    train_toy,
)
from tuningfork.errors import RunError
from tuningfork.events import Event, NullSink, StepFinished, Validated
from tuningfork.models.artefacts import InputPrompt, SoftPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.parts import TaskProduct
from tuningfork.models.prefix import PrefixState
from tuningfork.models.row_checks import Prefixes
from tuningfork.training.checkpoint import Checkpoint, Validation
from tuningfork.training.loop import Training, TrainingOutcome, selection_score, train
from tuningfork.training.objectives import TokenObjective
from tuningfork.training.schedules import learning_rate_at
from tuningfork.tuning.soft.method import ShowsRows, SoftMethod, begin
from tuningfork.tuning.soft.registry import SOFT_METHODS
from tuningfork.types import TrainingRow

ROOT = Path(__file__).parents[2]


def assert_prompts_equal(found: SoftPrompt, expected: SoftPrompt) -> None:
    for one, other in zip(found.tensors(), expected.tensors(), strict=True):
        assert torch.equal(one, other)


def scripted(validations: Sequence[Validation]) -> Callable[[PrefixState], Validation]:
    """A validation that returns `validations` one after the other, whatever the prompt."""
    remaining = iter(validations)
    return lambda prefix: next(remaining)


@pytest.mark.parametrize("stops", [(5,), (10,), tuple(range(14))], ids=["at-5", "at-10", "at-every-step"])
@pytest.mark.parametrize("validates_on", ["learned", "forgotten"])
def test_a_resumed_training_is_bit_equal_to_an_unbroken_one(
    model: FrozenModel, method: SoftMethod, validates_on: str, stops: tuple[int, ...], tmp_path: Path
) -> None:
    valset = VALSET if validates_on == "learned" else forgotten_rows(model)
    candidate = toy_candidate(model, method, patience=5)
    unbroken, resumed = RecordingSink(), RecordingSink()
    expected = train_toy(model, candidate, tmp_path / "unbroken", valset=valset, sink=unbroken)
    for stop in (*stops, None):
        found = train_toy(
            model, candidate, tmp_path / "resumed", valset=valset, sink=resumed, until_step=stop
        )
        # Whatever else draws random numbers between two sessions must not matter.
        torch.manual_seed(99)

    # Both branches of early stopping were on the way: improving to the end, and patience used up.
    assert expected.progress.step == (14 if validates_on == "learned" else 10)
    assert expected.progress.best_step == (14 if validates_on == "learned" else 0)
    assert resumed.events == unbroken.events
    assert_checkpoints_equal(Checkpoint.load(tmp_path / "resumed"), Checkpoint.load(tmp_path / "unbroken"))
    assert_prompts_equal(found.prompt, expected.prompt)
    assert replace(found.progress, seconds=0) == replace(expected.progress, seconds=0)


@pytest.mark.parametrize("stop", [2, 5])
def test_a_training_that_keeps_words_is_resumed_bit_equal_without_them(stop: int, tmp_path: Path) -> None:
    model = tiny_model("llama")
    method = next(method for method in SOFT_METHODS.values() if method.kind == "instance")
    candidate = toy_candidate(model, method)
    with model.keeping_contexts(2**20) as kept:
        unbroken = train_toy(model, candidate, tmp_path / "unbroken")
    with model.keeping_contexts(2**20):
        train_toy(model, candidate, tmp_path / "resumed", until_step=stop)
    with model.keeping_contexts(2**20):
        resumed = train_toy(model, candidate, tmp_path / "resumed")
    assert len(kept) > 0
    assert_prompts_equal(resumed.prompt, unbroken.prompt)


@pytest.mark.parametrize("stop", [2, 5])
def test_a_training_whose_layers_run_again_is_resumed_bit_equal(
    model: FrozenModel, method: SoftMethod, stop: int, tmp_path: Path
) -> None:
    candidate = toy_candidate(model, method)
    plain = train_toy(model, candidate, tmp_path / "plain")
    with model.recomputing_layers():
        unbroken = train_toy(model, candidate, tmp_path / "unbroken")
    with model.recomputing_layers():
        train_toy(model, candidate, tmp_path / "resumed", until_step=stop)
    with model.recomputing_layers():
        resumed = train_toy(model, candidate, tmp_path / "resumed")
    assert_checkpoints_equal(Checkpoint.load(tmp_path / "resumed"), Checkpoint.load(tmp_path / "unbroken"))
    assert_prompts_equal(resumed.prompt, unbroken.prompt)
    assert plain.progress.best is not None
    assert unbroken.progress.best is not None
    assert unbroken.progress.best.log_loss == pytest.approx(plain.progress.best.log_loss, rel=1e-5)


@pytest.mark.slow
def test_trainings_killed_at_random_moments_end_bit_equal_to_unbroken_ones(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "tests.training.killed_training", str(tmp_path), "3"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    kills = [int(line) for line in result.stdout.split()]
    assert len(kills) == len(SOFT_METHODS)
    assert min(kills) >= 3
    for method in SOFT_METHODS:
        found = Checkpoint.load(tmp_path / f"{method}.killed")
        assert found.progress.step == MAX_STEPS
        assert_checkpoints_equal(found, Checkpoint.load(tmp_path / f"{method}.unbroken"))


def test_a_checkpoint_is_never_older_than_the_arguments_allow(
    model: FrozenModel, any_method: SoftMethod, tmp_path: Path
) -> None:
    class CheckingSink:
        def __init__(self) -> None:
            self.ages: list[int] = []

        def emit(self, event: Event) -> None:
            if isinstance(event, StepFinished):
                self.ages.append(event.step - Checkpoint.load(tmp_path / "toy").progress.step)

    sink = CheckingSink()
    train_toy(model, toy_candidate(model, any_method, max_steps=8), tmp_path / "toy", sink=sink)
    # Events come before the checkpoint of their step.
    assert sink.ages == [1, 2, 3, 1, 2, 3, 1, 2]
    assert Checkpoint.load(tmp_path / "toy").progress.step == 8


def test_a_finished_training_is_not_continued(
    model: FrozenModel, any_method: SoftMethod, tmp_path: Path
) -> None:
    candidate = toy_candidate(model, any_method, max_steps=3)
    first = train_toy(model, candidate, tmp_path / "toy")
    content, sink = (tmp_path / "toy").read_bytes(), RecordingSink()
    again = train_toy(model, candidate, tmp_path / "toy", sink=sink)
    assert sink.events == []
    assert again.progress == first.progress
    assert again.progress.is_finished
    assert (tmp_path / "toy").read_bytes() == content
    assert_prompts_equal(again.prompt, first.prompt)


def test_a_damaged_checkpoint_is_refused_and_kept(
    model: FrozenModel, any_method: SoftMethod, tmp_path: Path
) -> None:
    (tmp_path / "toy").write_bytes(b"damaged")
    with pytest.raises(RunError, match=r"toy: the checkpoint cannot be read .*remove it to start"):
        train_toy(model, toy_candidate(model, any_method), tmp_path / "toy")
    assert (tmp_path / "toy").read_bytes() == b"damaged"


def test_a_pause_takes_no_validation_that_an_unbroken_run_would_not_take(
    model: FrozenModel, any_method: SoftMethod, tmp_path: Path
) -> None:
    sink = RecordingSink()
    outcome = train_toy(model, toy_candidate(model, any_method), tmp_path / "toy", sink=sink, until_step=3)
    assert [event.step for event in sink.steps] == [1, 2, 3]
    assert [event.step for event in sink.validations] == [0, 2]
    assert not outcome.progress.is_finished


def test_events_tell_the_steps_and_validations(
    model: FrozenModel, method: SoftMethod, tmp_path: Path
) -> None:
    sink, candidate = RecordingSink(), toy_candidate(model, method, max_steps=5)
    outcome = train_toy(model, candidate, tmp_path / "toy", sink=sink)
    kinds = [(type(event), getattr(event, "step", None)) for event in sink.events]
    assert kinds == [
        (Validated, 0),
        (StepFinished, 1),
        (StepFinished, 2),
        (Validated, 2),
        (StepFinished, 3),
        (StepFinished, 4),
        (Validated, 4),
        (StepFinished, 5),
        (Validated, 5),
    ]
    assert [event.learning_rate for event in sink.steps] == [
        learning_rate_at(step, candidate.arguments) for step in range(5)
    ]
    assert {(event.candidate, event.total_steps) for event in sink.steps} == {(candidate.name, 5)}
    assert {(event.candidate, event.metric) for event in sink.validations} == {
        (candidate.name, "probability")
    }
    assert all(event.gradient_norm > 0 for event in sink.steps)
    assert outcome.progress.last_loss == sink.losses[-1]
    assert outcome.progress.seconds > 0
    assert outcome.candidate is candidate


def test_the_outcome_counts_the_trained_parameters(
    model: FrozenModel, method: SoftMethod, tmp_path: Path
) -> None:
    outcome = train_toy(model, toy_candidate(model, method), tmp_path / "toy", until_step=0)
    layers, heads, size = 2, 2, 8
    expected = {
        "input": len(TEXT) * model.hidden_size,
        "key-value": 2 * layers * heads * len(TEXT) * size,
        # A shift of the separator, and a generator of it from the embeddings through 16 numbers.
        "instance": model.hidden_size * (1 + 16 + 16),
    }
    assert outcome.num_trained_parameters == expected[method.kind]


def test_the_seed_decides_the_order_of_the_rows(
    model: FrozenModel, any_method: SoftMethod, tmp_path: Path
) -> None:
    def losses(name: str, seed: int) -> list[float]:
        sink = RecordingSink()
        candidate = toy_candidate(model, any_method, max_steps=4, seed=seed)
        train_toy(model, candidate, tmp_path / name, sink=sink)
        return sink.losses

    assert losses("one", 1) == losses("same", 1)
    assert losses("one again", 1) != losses("other", 2)


def test_gradients_are_clipped_to_their_norm_and_0_turns_it_off(
    model: FrozenModel, method: SoftMethod, tmp_path: Path
) -> None:
    def moved(max_gradient_norm: float) -> float:
        path = tmp_path / str(max_gradient_norm)
        candidate = toy_candidate(
            model, method, max_steps=2, weight_decay=0.0, max_gradient_norm=max_gradient_norm
        )
        train_toy(model, candidate, path, until_step=0)
        start = Checkpoint.load(path).module
        train_toy(model, candidate, path)
        end = Checkpoint.load(path).module
        return max(float((end[name] - start[name]).abs().max()) for name in start)

    # AdamW takes steps of the same size whatever the scale of the gradient, down to its epsilon of 1e-8.
    assert moved(1e-12) < 1e-3
    assert moved(0.0) == moved(1e9) > 0.02


def stop_step(
    model: FrozenModel,
    method: SoftMethod,
    validations: Sequence[tuple[float, float]],
    *,
    patience: int,
    num_rows: int = 10,
    higher_is_better: bool = True,
) -> tuple[int, TrainingOutcome]:
    """Validate `validations`, each (metric, log-loss), until the training stops; how many it took."""
    training = Training(
        model,
        toy_candidate(model, method, patience=patience),
        TRAINSET,
        higher_is_better=higher_is_better,
    )
    validate = scripted([Validation(metric, log_loss, num_rows) for metric, log_loss in validations])
    taken = 0
    while taken < len(validations) and not training.progress.is_finished:
        training.validate(validate, "metric")
        taken += 1
    return taken, training.outcome()


@pytest.mark.parametrize(
    ("metrics", "taken"),
    [
        ([0.5, 0.4, 0.4, 0.9], 3),
        ([0.5, 0.4, 0.6, 0.5, 0.5, 0.9], 5),
        ([0.5, 0.6, 0.7, 0.8], 4),
        # What equals the best is no improvement, and what improves on the one before is none either.
        ([0.5, 0.5, 0.5, 0.9], 3),
        ([0.5, 0.1, 0.2, 0.9], 3),
    ],
)
def test_patience_counts_validations_without_a_better_metric(
    model: FrozenModel, any_method: SoftMethod, metrics: list[float], taken: int
) -> None:
    worsening = [(metric, 1.0 + index) for index, metric in enumerate(metrics)]
    assert stop_step(model, any_method, worsening, patience=2)[0] == taken
    errors = [(1 - metric, log_loss) for metric, log_loss in worsening]
    assert stop_step(model, any_method, errors, patience=2, higher_is_better=False)[0] == taken


def test_a_better_log_loss_is_an_improvement_where_it_decides(
    model: FrozenModel, any_method: SoftMethod
) -> None:
    falling = [(0.5, 3.0), (0.5, 2.0), (0.5, 1.0), (0.5, 1.0), (0.5, 1.0), (0.5, 0.5)]
    assert stop_step(model, any_method, falling, patience=2)[0] == 5
    assert stop_step(model, any_method, falling, patience=2, num_rows=100)[0] == 3


def test_patience_0_never_stops(model: FrozenModel, any_method: SoftMethod) -> None:
    worsening = [(0.0, float(index)) for index in range(30)]
    taken, outcome = stop_step(model, any_method, worsening, patience=0)
    assert taken == 30
    assert not outcome.progress.is_finished


@pytest.mark.parametrize("diverged", [float("nan"), float("inf")])
def test_a_diverged_validation_is_never_the_best(
    model: FrozenModel, any_method: SoftMethod, diverged: float
) -> None:
    metric = float("nan")
    taken, outcome = stop_step(
        model, any_method, [(0.5, 2.0), (metric, diverged), (metric, diverged)], patience=2
    )
    assert taken == 3
    assert outcome.progress.best == Validation(0.5, 2.0, 10)


@pytest.mark.parametrize(
    ("log_losses", "best_step"),
    [
        ([5.0, 4.0, 3.0, 3.5, 3.6, 3.7], 4),
        ([5.0, 5.5, 5.6, 5.7, 5.8, 5.9], 0),
        ([5.0, 4.0, 3.0, 2.5, 2.4, 2.3], 10),
        # Of equals the first is kept.
        ([5.0, 4.0, 4.0, 4.0, 4.0, 4.0], 2),
    ],
)
@pytest.mark.parametrize("is_paused", [False, True])
def test_the_prompt_of_the_best_step_is_returned(
    model: FrozenModel,
    method: SoftMethod,
    log_losses: list[float],
    best_step: int,
    is_paused: bool,
    tmp_path: Path,
) -> None:
    candidate, sink = toy_candidate(model, method, max_steps=10, patience=0), RecordingSink()
    validate = scripted([Validation(0.5, log_loss, 10) for log_loss in log_losses])
    for until_step in (5, None) if is_paused else (None,):
        outcome = train(
            Training(model, candidate, TRAINSET, higher_is_better=True),
            validate,
            metric="metric",
            sink=sink,
            checkpoint_path=tmp_path / "toy",
            until_step=until_step,
        )
    assert outcome.progress.best_step == best_step
    assert outcome.progress.best == Validation(0.5, min(log_losses), 10)
    assert max(event.step for event in sink.validations if event.is_best) == best_step
    assert not any(tensor.requires_grad for tensor in outcome.prompt.tensors())

    at_best = Training(model, candidate, TRAINSET, higher_is_better=True)
    for _ in range(best_step):
        at_best.step()
    at_best.validate(scripted([Validation(0.5, 1.0, 10)]), "metric")
    assert_prompts_equal(outcome.prompt, at_best.outcome().prompt)


def test_the_parts_are_those_of_the_prompt_that_is_returned(model: FrozenModel) -> None:
    candidate = toy_candidate(model, SOFT_METHODS["multitask_prompt_tuning"], max_steps=4, patience=0)
    training = Training(model, candidate, TRAINSET, higher_is_better=True)
    training.step()
    training.validate(scripted([Validation(0.5, 1.0, 10)]), "metric")
    training.step()
    outcome = training.outcome()
    assert isinstance(outcome.parts, TaskProduct)
    assert isinstance(outcome.prompt, InputPrompt)
    assert torch.equal(outcome.parts.product, outcome.prompt.embeddings)
    other = Training(
        model, toy_candidate(model, SOFT_METHODS["prompt_tuning"]), TRAINSET, higher_is_better=True
    )
    assert other.outcome().parts is None


def test_taking_the_outcome_does_not_disturb_the_training(model: FrozenModel, any_method: SoftMethod) -> None:
    candidate = toy_candidate(model, any_method)
    one, other = (Training(model, candidate, TRAINSET, higher_is_better=True) for _ in range(2))
    for _ in range(3):
        one.step()
        other.step()
        one.outcome()
    assert one.step().loss == other.step().loss
    assert_prompts_equal(one.outcome().prompt, other.outcome().prompt)


def test_a_checkpoint_stays_as_it_was_taken_while_the_training_goes_on(
    model: FrozenModel, method: SoftMethod, tmp_path: Path
) -> None:
    training = Training(model, toy_candidate(model, method), TRAINSET, higher_is_better=True)
    training.step()
    taken = training.checkpoint()
    taken.save(tmp_path / "at once")
    for _ in range(2):
        training.step()
    assert_checkpoints_equal(taken, Checkpoint.load(tmp_path / "at once"))

    # Nor do two trainings that start from one checkpoint share anything.
    losses = []
    for _ in range(2):
        training.restore(taken)
        losses.append([training.step().loss for _ in range(3)])
    assert losses[0] == losses[1]


@pytest.mark.parametrize("num_rows", [1, 99])
@pytest.mark.parametrize("higher_is_better", [True, False])
def test_below_100_rows_the_log_loss_chooses(num_rows: int, higher_is_better: bool) -> None:
    likely, accurate = Validation(0.2, 1.0, num_rows), Validation(0.9, 1.1, num_rows)
    assert selection_score(likely, higher_is_better=higher_is_better) == -1.0
    assert selection_score(accurate, higher_is_better=higher_is_better) == -1.1


def test_labels_told_apart_win_over_labels_that_nobody_is_sure_of() -> None:
    sure, unsure = Validation(0.5, 4.0, 48, (5.0, 4.0, 1.2)), Validation(0.2, 1.79, 48, (1.8, 1.79, 1.79))
    assert selection_score(sure) == -1.2 > selection_score(unsure) == -1.79


@pytest.mark.parametrize("num_rows", [100, 5000])
def test_from_100_rows_on_the_metric_chooses(num_rows: int) -> None:
    validation = Validation(0.9, 1.1, num_rows)
    assert selection_score(validation) == 0.9
    assert selection_score(validation, higher_is_better=False) == -0.9


def test_a_metric_where_lower_is_better_chooses_the_lowest(
    model: FrozenModel, any_method: SoftMethod
) -> None:
    errors = [(0.5, 1.0), (0.2, 2.0), (0.3, 3.0)]
    _, outcome = stop_step(model, any_method, errors, patience=0, num_rows=100, higher_is_better=False)
    assert outcome.progress.best == Validation(0.2, 2.0, 100)


@pytest.mark.parametrize("showing", [m for m in SOFT_METHODS.values() if isinstance(m, ShowsRows)])
def test_rows_that_the_prompt_shows_are_not_trained_on(model: FrozenModel, showing: SoftMethod) -> None:
    trained: list[TrainingRow] = []

    class Spy(TokenObjective):
        def losses(self, model: FrozenModel, prefix: Prefixes, rows: Sequence[TrainingRow]) -> Tensor:
            trained.extend(rows)
            return super().losses(model, prefix, rows)

    assert isinstance(showing, ShowsRows)
    candidate = toy_candidate(model, showing, objective=Spy(), batch_size=4)
    generator = torch.Generator().manual_seed(candidate.arguments.seed)
    shown = set(showing.shown_rows(begin(showing, model, candidate.embeddings, generator, TRAINSET)))
    left = [row for index, row in enumerate(TRAINSET) if index not in shown]
    training = Training(model, candidate, TRAINSET, higher_is_better=True)
    for _ in range(len(left)):
        training.step()
    assert {row.ids: trained.count(row) for row in trained} == {row.ids: 4 for row in left}


def test_rows_that_are_missing_are_refused(model: FrozenModel, any_method: SoftMethod) -> None:
    with pytest.raises(ValueError, match="there are no rows to draw from"):
        train(
            Training(model, toy_candidate(model, any_method), [], higher_is_better=True),
            scripted([]),
            metric="metric",
            sink=NullSink(),
            checkpoint_path=Path("never written"),
        )
