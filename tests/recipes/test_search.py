from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.recipes.conftest import RecordingSink
from tuningfork.errors import PromptError
from tuningfork.evaluation.evaluate import Evaluator
from tuningfork.events import StepFinished
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.prefix import PrefixState
from tuningfork.recipes.baselines import as_validation
from tuningfork.recipes.preparation import Prepared, prepare
from tuningfork.recipes.search import Search, SearchSpace, plan_candidates
from tuningfork.tasks.task import Task
from tuningfork.training.checkpoint import Validation
from tuningfork.training.objectives import TokenObjective
from tuningfork.tuning.soft.defaults import LEARNING_RATES, NUM_VIRTUAL_TOKENS_WITHOUT_TEXT
from tuningfork.tuning.soft.registry import SOFT_METHODS


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
            "rows": [renderer.training_row(example) for example in self.prepared.train],
            "text_ids": renderer.prefix_ids,
            "label_ids": [],
            "objective": TokenObjective(),
            "options": self.options,
            "metric": "chrf",
            "higher_is_better": True,
        }
        return SearchSpace(**{**fields, **changes})

    def with_options(self, **changes: Any) -> SearchSpace:
        return self.space(options=self.options.model_copy(update=changes))

    def validate(self, prefix: PrefixState) -> Validation:
        evaluator = Evaluator(self.model, self.prepared.task, self.prepared.renderer)
        return as_validation(evaluator.evaluate(prefix, self.prepared.validation))

    def search(self, space: SearchSpace, folder: Path, sink: RecordingSink) -> Search:
        return Search(space, RunFolder(folder), self.validate, sink)


@pytest.fixture
def setting(tasks: dict[str, Task], model: FrozenModel, sink: RecordingSink) -> Setting:
    options = TuneOptions(max_steps=8, validate_every=2, batch_size=4, num_seeds=2, patience=0)
    return Setting(model, prepare(tasks["generation"], model, options, sink), options)


def steps_taken(sink: RecordingSink) -> list[tuple[str, int]]:
    return [(event.candidate, event.step) for event in sink.events if isinstance(event, StepFinished)]


def test_without_choices_every_method_is_tried_at_its_own_rates(setting: Setting) -> None:
    candidates = plan_candidates(setting.space())
    assert [(c.method.name, c.arguments.learning_rate) for c in candidates] == [
        (name, rate) for name in SOFT_METHODS for rate in LEARNING_RATES[name]
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
    steps = sorted(outcome.progress.step for outcome in search.outcomes.values())
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
    assert outcome is found.winner
    assert outcome.progress.step == 8


def test_few_rows_are_all_trained_on_for_the_steps_that_were_best(
    setting: Setting, tmp_path: Path, sink: RecordingSink
) -> None:
    renderer = setting.prepared.renderer
    every = [*setting.prepared.train, *setting.prepared.validation]
    space = setting.space(
        options=setting.options.model_copy(update={"methods": ("prompt_tuning",), "learning_rates": (0.1,)}),
        refit_rows=[renderer.training_row(example) for example in every],
    )
    found = setting.search(space, tmp_path, sink).run(plan_candidates(space))
    best_step = found.winner.progress.best_step
    assert best_step > 0
    assert [outcome.candidate.name for outcome in found.seeds] == [
        "prompt_tuning-lr0.1-all-seed0",
        "prompt_tuning-lr0.1-all-seed1",
    ]
    for outcome in found.seeds:
        assert (outcome.progress.step, outcome.progress.best) == (best_step, None)
        assert outcome.candidate.arguments.max_steps == best_step


def test_a_stage_that_was_ranked_stays_ranked(setting: Setting, tmp_path: Path, sink: RecordingSink) -> None:
    space = setting.with_options(methods=("prompt_tuning",), learning_rates=(0.01, 0.1), num_seeds=1)
    candidates = plan_candidates(space)
    for order in (candidates, candidates[::-1]):
        folder = tmp_path / order[0].name
        RunFolder(folder).save_ranking("tune to step 2", [candidate.name for candidate in order])
        winner = setting.search(space, folder, sink).run(candidates).winner
        assert winner.candidate.name == order[0].name
