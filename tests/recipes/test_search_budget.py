"""What a search does when its time is up."""

import math
from pathlib import Path

import pytest

from tests.recipes.conftest import RecordingSink, Setting
from tuningfork.events import StepFinished
from tuningfork.library.run_folder import RunFolder
from tuningfork.recipes.search import Search
from tuningfork.recipes.search_space import SearchSpace, plan_candidates
from tuningfork.recipes.spending import Budget
from tuningfork.training.checkpoint import Checkpoint

RATES = (0.001, 0.01, 0.1, 1.0)


class CountedBudget(Budget):
    """Spent after so many questions; remembers the largest reserve that it was asked to keep."""

    def __init__(self, questions: float) -> None:
        super().__init__(None)
        self.questions = questions
        self.reserve = 0.0

    def is_spent(self, *, reserve: float = 0.0) -> bool:
        self.questions -= 1
        self.reserve = max(self.reserve, reserve)
        return self.questions < 0


@pytest.fixture
def space(setting: Setting) -> SearchSpace:
    return setting.with_options(methods=("prompt_tuning",), learning_rates=RATES, bank_size=1)


def searched(
    space: SearchSpace, folder: Path, budget: Budget, sink: RecordingSink
) -> tuple[Search, list[str]]:
    search = Search(space, RunFolder(folder), sink, budget=budget)
    return search, [seed.candidate.name for seed in search.run(plan_candidates(space)).seeds]


def steps_by_candidate(sink: RecordingSink) -> dict[str, int]:
    steps: dict[str, int] = {}
    for event in sink.events:
        if isinstance(event, StepFinished):
            steps[event.candidate] = steps.get(event.candidate, 0) + 1
    return steps


def test_the_first_candidate_and_its_seeds_are_trained_whatever_the_budget(
    space: SearchSpace, tmp_path: Path, sink: RecordingSink
) -> None:
    search, seeds = searched(space, tmp_path, CountedBudget(0), sink)
    steps = steps_by_candidate(sink)
    # A quarter of the steps for the search, all of them for the other seed.
    assert steps == {"prompt_tuning-lr0.001-seed0": 2, "prompt_tuning-lr0.001-seed1": 8}
    assert sorted(seeds) == sorted(steps)
    assert search.cut_short == {f"prompt_tuning-lr{rate:g}-seed0" for rate in RATES}


def test_a_stage_that_is_cut_short_ranks_those_that_were_trained(
    space: SearchSpace, tmp_path: Path, sink: RecordingSink
) -> None:
    # Asked before each bank but the first: two more candidates are trained to the first rung.
    search, seeds = searched(space, tmp_path, CountedBudget(2), sink)
    judged = {name: outcome.best.log_loss for name, outcome in search.outcomes.items() if "seed0" in name}
    assert set(judged) == {f"prompt_tuning-lr{rate:g}-seed0" for rate in RATES[:3]}
    best = min(judged, key=judged.__getitem__)
    assert {name.rpartition("-seed")[0] for name in seeds} == {best.rpartition("-seed")[0]}
    assert "prompt_tuning-lr1-seed0" in search.cut_short


def test_folds_of_the_first_candidate_are_all_trained(
    setting: Setting, tmp_path: Path, sink: RecordingSink
) -> None:
    space = setting.cross_validated(learning_rates=RATES, bank_size=1)
    search, seeds = searched(space, tmp_path, CountedBudget(0), sink)
    (outcome,) = search.outcomes.values()
    assert len(outcome.trainings) == 3
    assert seeds == ["prompt_tuning-lr0.001-all-seed0", "prompt_tuning-lr0.001-all-seed1"]


def test_what_stands_in_checkpoints_counts_although_time_is_up(
    space: SearchSpace, tmp_path: Path, sink: RecordingSink
) -> None:
    whole, expected = searched(space, tmp_path, Budget(None), sink)
    assert whole.cut_short == set()
    later = RecordingSink()
    again, seeds = searched(space, tmp_path, CountedBudget(0), later)
    assert seeds == expected
    assert again.cut_short == set()
    assert steps_by_candidate(later) == {}


def test_time_for_the_seeds_is_kept_back(setting: Setting, tmp_path: Path, sink: RecordingSink) -> None:
    space = setting.with_options(methods=("prompt_tuning",), learning_rates=RATES, bank_size=1, num_seeds=12)
    budget = CountedBudget(math.inf)
    searched(space, tmp_path, budget, sink)
    progress = [Checkpoint.load(path).progress for path in RunFolder(tmp_path).checkpoints]
    pace = sum(one.seconds for one in progress) / sum(one.step for one in progress)
    # Twelve seeds of eight steps, at about the pace of all trainings.
    assert 0.2 < budget.reserve / (pace * 12 * 8) < 5
