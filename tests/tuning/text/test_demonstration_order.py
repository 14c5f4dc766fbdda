from itertools import combinations
from typing import ClassVar

from tests.tuning.text.scripted_search import Desk
from tuningfork.tuning.text.candidates import TextCandidate
from tuningfork.tuning.text.demonstration_order import DemonstrationOrder
from tuningfork.tuning.text.strategy import TextStrategy
from tuningfork.tuning.text.trials import Trials

START = (5, 2, 11, 8, 3, 14, 7, 1)


def planted(candidate: TextCandidate, row: int) -> float:
    """The share of pairs that stand in the order of their numbers."""
    pairs = list(combinations(candidate.demonstrations, 2))
    return sum(one < other for one, other in pairs) / len(pairs) if pairs else -1.0


class RandomOrder:
    """The same rows in random orders."""

    name: ClassVar[str] = "random_order"
    needs_proposer: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ()

    def search(self, trials: Trials) -> None:
        while True:
            orders = [tuple(trials.generator.sample(START, len(START))) for _ in range(6)]
            trials.race([TextCandidate(trials.base.instruction, order) for order in orders])


def best_of(strategy: TextStrategy, seed: int) -> float:
    desk = Desk(planted, calls=900, seed=seed)
    desk_trials = desk.trials()
    desk_trials.finish(TextCandidate(desk_trials.base.instruction, START))
    desk_trials.begin(strategy.name, seed=seed)
    try:
        strategy.search(desk_trials)
    except Exception as end:
        if "metric calls" not in str(end):
            raise
    return planted(desk_trials.best.candidate, 0)


def test_it_finds_the_planted_order_better_than_chance_at_equal_calls() -> None:
    strategies: tuple[TextStrategy, ...] = (DemonstrationOrder(), RandomOrder())
    ours, chance = ([best_of(one, seed) for seed in range(5)] for one in strategies)
    assert all(one > other for one, other in zip(ours, chance, strict=True))
    assert min(ours) > 0.95


def test_it_begins_with_random_rows_and_changes_only_their_order() -> None:
    trials = Desk(planted, options={"most_demonstrations": 4}).search(DemonstrationOrder())
    assert len({frozenset(trial.candidate.demonstrations) for trial in trials.history[1:]}) == 1
    assert len(trials.history) > 10
