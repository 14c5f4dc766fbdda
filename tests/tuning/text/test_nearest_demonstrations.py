import numpy as np

from tests.tuning.text.scripted_search import Desk, found
from tuningfork.tuning.text.candidates import TextCandidate
from tuningfork.tuning.text.nearest_demonstrations import NearestDemonstrations, nearest
from tuningfork.tuning.text.random_demonstrations import RandomDemonstrations

NUM_ROWS = 40


def planted(candidate: TextCandidate, row: int) -> float:
    """Rows help as far as they point where the middle of all does: half way along the half circle."""
    shown = candidate.demonstrations
    likeness = [np.cos(np.pi * (row / NUM_ROWS - 0.5)) for row in shown]
    return float(np.mean(likeness)) if shown else 0.0


def test_it_finds_the_planted_rows_better_than_chance_at_equal_calls() -> None:
    ours, chance = (
        [found(Desk(planted, num_rows=NUM_ROWS, calls=250, seed=seed), one) for seed in range(5)]
        for one in (NearestDemonstrations(), RandomDemonstrations())
    )
    assert all(one > other for one, other in zip(ours, chance, strict=True))
    assert min(ours) > 0.99


def test_the_nearest_row_stands_last_and_answers_take_turns() -> None:
    trials = Desk(planted, num_rows=NUM_ROWS).trials()
    chosen = nearest(trials, list(range(NUM_ROWS)), 4)
    assert {trials.rows.target(row) for row in chosen} == {"a", "b"}
    distances = [abs(row - (NUM_ROWS - 1) / 2) for row in chosen]
    assert distances == sorted(distances, reverse=True)
    assert max(distances) < 4
