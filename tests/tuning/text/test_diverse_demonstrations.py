import numpy as np

from tests.tuning.text.scripted_search import Desk, example_rows, found, grid
from tuningfork.tuning.text.candidates import TextCandidate
from tuningfork.tuning.text.diverse_demonstrations import DiverseDemonstrations, covering
from tuningfork.tuning.text.random_demonstrations import RandomDemonstrations
from tuningfork.tuning.text.strategy import TextStrategy

NUM_ROWS = 60
VECTORS = grid(example_rows(NUM_ROWS))


def planted(candidate: TextCandidate, row: int) -> float:
    """A row is answered as well as the row shown that is most like it allows."""
    shown = list(candidate.demonstrations)
    return float((VECTORS[shown] @ VECTORS[row]).max()) ** 8 if shown else 0.0


def test_it_finds_rows_that_stand_for_all_better_than_chance_at_equal_calls() -> None:
    def best_of(strategy: TextStrategy, seed: int) -> float:
        options = {"most_demonstrations": 3}
        return found(Desk(planted, num_rows=NUM_ROWS, calls=300, seed=seed, options=options), strategy)

    ours = [best_of(DiverseDemonstrations(), seed) for seed in range(5)]
    chance = [best_of(RandomDemonstrations(), seed) for seed in range(5)]
    assert sum(one > other for one, other in zip(ours, chance, strict=True)) >= 4
    assert sum(ours) > sum(chance) + 0.1


def test_each_further_row_covers_what_is_left() -> None:
    vectors = np.array([[1.0, 0.0], [0.98, 0.2], [0.98, -0.2], [0.0, 1.0], [0.1, 0.99], [-1.0, 0.0]])
    # The crowd first, which stands last; then the second crowd; then who is alone.
    assert covering(vectors, list(range(6)), 3) == [5, 3, 1]
    assert covering(vectors, [0, 5], 2)[::-1] == [0, 5]
    assert len(set(covering(np.zeros((4, 2)), [0, 1, 2, 3], 4))) == 4
