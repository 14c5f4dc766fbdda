from tests.tuning.text.scripted_search import Desk
from tuningfork.tuning.text.candidates import TextCandidate
from tuningfork.tuning.text.demonstration_sets import race_sets, sizes


def none(candidate: TextCandidate, row: int) -> float:
    return 0.0


def test_sizes_double_up_to_the_most() -> None:
    assert sizes(Desk(none, options={"most_demonstrations": 8}).trials()) == [2, 4, 8]
    assert sizes(Desk(none, options={"most_demonstrations": 5}).trials()) == [2, 4, 5]
    assert sizes(Desk(none, options={"most_demonstrations": 1}).trials()) == [1]
    assert sizes(Desk(none, options={"most_demonstrations": 0}).trials()) == []


def test_at_most_half_of_the_rows_are_shown() -> None:
    assert sizes(Desk(none, num_rows=6).trials()) == [1, 2, 3]


def test_rounds_end_when_the_same_sets_come_again() -> None:
    desk = Desk(none, calls=10**6)
    trials = desk.trials()
    race_sets(trials, lambda size: range(size))
    assert [t.candidate.demonstrations for t in trials.history] == [(), (0, 1), (0, 1, 2, 3), tuple(range(8))]
