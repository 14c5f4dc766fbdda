from tests.tuning.text.scripted_search import Desk, found
from tuningfork.tuning.text.candidates import TextCandidate
from tuningfork.tuning.text.random_demonstrations import RandomDemonstrations


def planted(candidate: TextCandidate, row: int) -> float:
    return sum(demonstration in (1, 5, 9, 13) for demonstration in candidate.demonstrations) / 8


def test_sets_of_every_size_are_drawn_and_the_best_is_better_than_most() -> None:
    desk = Desk(planted)
    trials = desk.search(RandomDemonstrations())
    assert {len(trial.candidate.demonstrations) for trial in trials.history} == {0, 2, 4, 8}
    shown = {row for trial in trials.history for row in trial.candidate.demonstrations}
    assert shown == set(range(24))


def test_it_beats_a_single_set_on_every_seed() -> None:
    # 8 of 24 rows hold 4 / 3 of the four good ones on average.
    assert all(found(Desk(planted, seed=seed), RandomDemonstrations()) > 4 / 3 / 8 for seed in range(5))
