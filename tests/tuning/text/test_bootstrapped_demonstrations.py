from tests.tuning.text.scripted_search import Desk, found
from tuningfork.tuning.text.bootstrapped_demonstrations import BootstrappedDemonstrations
from tuningfork.tuning.text.candidates import TextCandidate
from tuningfork.tuning.text.random_demonstrations import RandomDemonstrations


def is_wrong(row: int) -> bool:
    return row % 5 < 2


def planted(candidate: TextCandidate, row: int) -> float:
    """Rows with wrong answers are answered badly, and mislead where they are shown."""
    shown = candidate.demonstrations
    good = sum(not is_wrong(each) for each in shown)
    return 0.5 + (good - (len(shown) - good)) / 20 - 0.4 * is_wrong(row)


def test_it_leaves_out_rows_with_wrong_answers_better_than_chance_at_equal_calls() -> None:
    ours, chance = (
        [found(Desk(planted, num_rows=40, calls=250, seed=seed), one) for seed in range(5)]
        for one in (BootstrappedDemonstrations(), RandomDemonstrations())
    )
    assert all(one >= other for one, other in zip(ours, chance, strict=True))
    assert sum(ours) > sum(chance) + 0.25


def test_sets_keep_rows_of_the_best() -> None:
    trials = Desk(planted, num_rows=40, calls=2000).search(BootstrappedDemonstrations())
    assert not any(is_wrong(row) for trial in trials.history for row in trial.candidate.demonstrations)
    best = set(trials.best.candidate.demonstrations)
    later = [set(trial.candidate.demonstrations) for trial in trials.history[-12:]]
    assert max(len(best & one) for one in later if one != best) >= 3


def test_where_good_rows_are_few_others_fill_the_set() -> None:
    trials = Desk(lambda candidate, row: float(row == 0), num_rows=12).search(BootstrappedDemonstrations())
    assert max(len(trial.candidate.demonstrations) for trial in trials.history) == 6
