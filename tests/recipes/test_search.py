import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.recipes.conftest import RecordingSink
from tuningfork.data.example import Example
from tuningfork.data.splits import Fold, cross_validation_folds
from tuningfork.errors import PromptError
from tuningfork.evaluation.evaluate import Evaluator
from tuningfork.events import StepFinished
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.artefacts import InputPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.preparation import Prepared, prepare
from tuningfork.recipes.search import (
    CandidateOutcome,
    Search,
    SearchSpace,
    TrainingFold,
    plan_candidates,
)
from tuningfork.tasks.task import Task
from tuningfork.training.checkpoint import Checkpoint, Progress, Validation
from tuningfork.training.loop import Candidate, TrainingOutcome
from tuningfork.training.objectives import TokenObjective
from tuningfork.tuning.soft.defaults import (
    LEARNING_RATES,
    NUM_VIRTUAL_TOKENS_WITHOUT_TEXT,
    SEARCHED_METHODS,
)
from tuningfork.tuning.soft.registry import get_soft_method
from tuningfork.types import TrainingRow


@dataclass
class Setting:
    """A search on the generation task."""

    model: FrozenModel
    prepared: Prepared
    options: TuneOptions

    def space(self, **changes: Any) -> SearchSpace:
        renderer = self.prepared.renderer
        fields: dict[str, Any] = {
            "model": self.model,
            "folds": [self.fold(fold) for fold in self.prepared.folds],
            "text_ids": renderer.prefix_ids,
            "label_ids": [],
            "objective": TokenObjective(),
            "options": self.options,
            "task_type": "generation",
            "metric": "chrf",
            "higher_is_better": True,
        }
        return SearchSpace(**{**fields, **changes})

    def with_options(self, **changes: Any) -> SearchSpace:
        return self.space(options=self.options.model_copy(update=changes))

    def fold(self, fold: Fold) -> TrainingFold:
        evaluator = Evaluator(self.model, self.prepared.task, self.prepared.renderer)
        return TrainingFold(
            self.rows(fold.train), lambda prefix: evaluator.validate(prefix, fold.validation, generates=False)
        )

    def rows(self, examples: Sequence[Example]) -> list[TrainingRow]:
        return [self.prepared.renderer.training_row(example) for example in examples]

    def cross_validated(self, **changes: Any) -> SearchSpace:
        """Three folds of the rows, and all of them for the last training."""
        folds = cross_validation_folds(self.prepared.rows, 3, seed=0)
        return self.space(
            folds=[self.fold(fold) for fold in folds],
            refit_rows=self.rows(self.prepared.rows),
            options=self.options.model_copy(update={"methods": ("prompt_tuning",), **changes}),
        )

    def search(self, space: SearchSpace, folder: Path, sink: RecordingSink) -> Search:
        return Search(space, RunFolder(folder), sink)


@pytest.fixture
def setting(tasks: dict[str, Task], model: FrozenModel, sink: RecordingSink) -> Setting:
    options = TuneOptions(max_steps=8, validate_every=2, batch_size=4, num_seeds=2, patience=0, refit="no")
    return Setting(model, prepare(tasks["generation"], model, options, sink), options)


def steps_taken(sink: RecordingSink) -> list[tuple[str, int]]:
    return [(event.candidate, event.step) for event in sink.events if isinstance(event, StepFinished)]


def test_without_choices_the_usual_methods_are_tried_at_their_own_rates(setting: Setting) -> None:
    candidates = plan_candidates(setting.space())
    assert [(c.method.name, c.arguments.learning_rate) for c in candidates] == [
        (name, rate) for name in SEARCHED_METHODS for rate in LEARNING_RATES[name]
    ]
    assert len({candidate.name for candidate in candidates}) == len(candidates)
    assert {len(candidate.embeddings) for candidate in candidates} == {len(setting.space().text_ids)}


def test_options_reach_the_training_arguments(setting: Setting) -> None:
    (candidate,) = plan_candidates(
        setting.with_options(
            methods=("prompt_tuning",), learning_rates=(0.3,), num_virtual_tokens=2, schedule="constant",
            weight_decay=0.5, micro_batch_size=3, checkpoint_every=7, seed=4,
        )
    )  # fmt: skip
    arguments = candidate.arguments
    assert (arguments.learning_rate, arguments.schedule, arguments.weight_decay) == (0.3, "constant", 0.5)
    assert (arguments.batch_size, arguments.micro_batch_size, arguments.checkpoint_every) == (4, 3, 7)
    assert (arguments.max_steps, arguments.validate_every, arguments.patience, arguments.seed) == (8, 2, 0, 4)
    assert len(candidate.embeddings) == 2


def test_without_a_text_there_is_still_a_length(setting: Setting) -> None:
    space = setting.space(
        text_ids=[], options=setting.options.model_copy(update={"initialization": "vocabulary"})
    )
    assert len(plan_candidates(space)[0].embeddings) == NUM_VIRTUAL_TOKENS_WITHOUT_TEXT


def test_unknown_method_and_start_are_refused(setting: Setting) -> None:
    with pytest.raises(
        PromptError, match="unknown soft-prompt method 'prefix': did you mean 'prefix_tuning'"
    ):
        plan_candidates(setting.with_options(methods=("prefix",), learning_rates=(0.1,)))
    with pytest.raises(PromptError, match="unknown initialisation 'luck'"):
        plan_candidates(setting.with_options(initialization="luck"))


def test_candidates_are_halved_and_the_winner_gets_all_steps_and_seeds(
    setting: Setting, tmp_path: Path, sink: RecordingSink
) -> None:
    space = setting.with_options(methods=("prompt_tuning",), learning_rates=(0.001, 0.01, 0.1, 1.0))
    search = setting.search(space, tmp_path, sink)
    outcomes = search.run(plan_candidates(space)).seeds
    steps = sorted(outcome.steps for outcome in search.outcomes.values())
    assert steps == [2, 2, 4, 8, 8]
    assert [outcome.candidate.arguments.seed for outcome in outcomes] in ([0, 1], [1, 0])
    assert len({outcome.candidate.arguments.learning_rate for outcome in outcomes}) == 1
    losses = [loss_of(outcome) for outcome in outcomes]
    assert losses == sorted(losses)
    taken = steps_taken(sink)
    assert len(set(taken)) == len(taken) == sum(steps)


def loss_of(outcome: Any) -> float:
    best = outcome.progress.best
    assert best is not None
    return float(best.log_loss)


def test_what_was_run_is_not_run_again(setting: Setting, tmp_path: Path, sink: RecordingSink) -> None:
    space = setting.with_options(methods=("prompt_tuning",), learning_rates=(0.01, 0.1))
    first = names(setting.search(space, tmp_path, sink).run(plan_candidates(space)).seeds)
    assert steps_taken(sink)
    later = RecordingSink()
    assert names(setting.search(space, tmp_path, later).run(plan_candidates(space)).seeds) == first
    assert steps_taken(later) == []


def names(outcomes: Sequence[Any]) -> list[str]:
    return [outcome.candidate.name for outcome in outcomes]


def test_only_candidate_is_not_halved(setting: Setting, tmp_path: Path, sink: RecordingSink) -> None:
    space = setting.with_options(methods=("prompt_tuning",), learning_rates=(0.1,), num_seeds=1)
    found = setting.search(space, tmp_path, sink).run(plan_candidates(space))
    (outcome,) = found.seeds
    assert found.winner.trainings == (outcome,)
    assert outcome.progress.step == 8


def test_few_rows_are_judged_by_all_that_are_held_out(
    setting: Setting, tmp_path: Path, sink: RecordingSink
) -> None:
    space = setting.cross_validated(learning_rates=(0.01, 0.1))
    search = setting.search(space, tmp_path, sink)
    search.run(plan_candidates(space))
    for outcome in search.outcomes.values():
        assert len(outcome.trainings) == 3
        last = max(outcome.validations)
        assert last == outcome.steps
        parts = [training.progress.validations[last] for training in outcome.trainings]
        total = len(setting.prepared.rows)
        assert sum(part.num_rows for part in parts) == outcome.validations[last].num_rows == total
        mean = sum(part.log_loss * part.num_rows for part in parts) / total
        assert outcome.validations[last].log_loss == pytest.approx(mean)
        assert outcome.best.log_loss == min(found.log_loss for found in outcome.validations.values())


def test_chosen_setting_is_trained_on_all_rows_until_the_step_that_was_best(
    setting: Setting, tmp_path: Path, sink: RecordingSink
) -> None:
    space = setting.cross_validated(learning_rates=(0.1,))
    found = setting.search(space, tmp_path, sink).run(plan_candidates(space))
    best_step = found.winner.best_step
    assert best_step > 0
    assert [outcome.candidate.name for outcome in found.seeds] == [
        "prompt_tuning-lr0.1-all-seed0",
        "prompt_tuning-lr0.1-all-seed1",
    ]
    for outcome in found.seeds:
        assert (outcome.progress.step, outcome.progress.best) == (best_step, None)
        path = RunFolder(tmp_path).checkpoint_path(outcome.candidate.name)
        assert len(Checkpoint.load(path).sampler_order) <= len(setting.prepared.rows)
    rates = [e.learning_rate for e in sink.events if isinstance(e, StepFinished)]
    # The learning rate falls as it fell when the step was found to be best.
    assert rates[-best_step:] == rates[:best_step]


def test_start_that_training_only_harms_is_kept_as_it_is(
    setting: Setting, tmp_path: Path, sink: RecordingSink
) -> None:
    worse = itertools.count()
    space = setting.cross_validated(learning_rates=(0.1,))
    folds = [replace(fold, validate=lambda _: Validation(None, next(worse), 5)) for fold in space.folds]
    space = replace(space, folds=folds)
    candidates = plan_candidates(space)
    found = setting.search(space, tmp_path, sink).run(candidates)
    assert found.winner.best_step == 0
    (start,) = found.seeds
    assert start.progress.step == 0
    assert isinstance(start.prompt, InputPrompt)
    assert torch.equal(start.prompt.embeddings, candidates[0].embeddings.float())


def outcome_of(*losses_by_fold: dict[int, float], until: int = 99) -> CandidateOutcome:
    candidate = Candidate("x", get_soft_method("prompt_tuning"), torch.zeros(1, 2), None)  # type: ignore[arg-type]
    trainings = tuple(
        TrainingOutcome(
            candidate,
            Progress(
                step=max(losses),
                validations={step: Validation(0.5, loss, 10) for step, loss in losses.items()},
            ),
            None,  # type: ignore[arg-type]
            0,
        )
        for losses in losses_by_fold
    )
    return CandidateOutcome(candidate, trainings, until, higher_is_better=True)


def test_best_step_is_that_of_the_folds_together() -> None:
    outcome = outcome_of({0: 3.0, 2: 1.0, 4: 2.0, 6: 9.0}, {0: 3.0, 2: 5.0, 4: 2.0})
    assert outcome.best_step == 4
    assert (outcome.best.log_loss, outcome.best.num_rows) == (2.0, 20)


def test_what_came_after_a_stage_does_not_count_in_it() -> None:
    folds = ({0: 3.0, 2: 2.0, 4: 1.0}, {0: 3.0, 2: 2.0, 4: 1.0})
    assert outcome_of(*folds, until=3).best_step == 2
    assert outcome_of(*folds).best_step == 4


def test_folds_are_judged_by_log_loss_however_many_rows_they_count() -> None:
    outcome = outcome_of(*[{0: 2.0, 2: 1.0}] * 20)
    assert outcome.best.num_rows == 200
    assert outcome.quality(Validation(1.0, 3.0, 200)) < outcome.quality(outcome.best)
    assert outcome.quality(Validation(1.0, float("nan"), 200)) == -float("inf")


@pytest.mark.parametrize(("patience", "has_stalled"), [(0, False), (2, True), (3, False)])
def test_a_candidate_stalls_after_so_many_validations_without_gain(patience: int, has_stalled: bool) -> None:
    assert outcome_of({0: 3.0, 2: 1.0, 4: 2.0, 6: 1.0}).has_stalled(patience) is has_stalled


def test_stalled_candidate_is_trained_no_further(
    setting: Setting, tmp_path: Path, sink: RecordingSink
) -> None:
    space = setting.cross_validated(learning_rates=(1e30, 1e31), validate_every=1, patience=1)
    search = setting.search(space, tmp_path, sink)
    search.run(plan_candidates(space))
    assert {outcome.steps for outcome in search.outcomes.values()} == {2}
