from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.tuning.text.scripted_search import Desk, SpyProposer
from tuningfork.errors import RemoteError
from tuningfork.tuning.text.budget import SearchEnded
from tuningfork.tuning.text.candidates import TextCandidate
from tuningfork.tuning.text.proposers.request import Request
from tuningfork.tuning.text.scoring import RowScore


def by_length(candidate: TextCandidate, row: int) -> float:
    return len(candidate.instruction) / 100 + row / 1000


def texts(*lengths: int) -> list[TextCandidate]:
    return [TextCandidate("x" * length) for length in lengths]


def test_the_hand_written_prompt_is_scored_first_on_all_rows() -> None:
    desk = Desk(by_length)
    trials = desk.trials()
    assert trials.best.candidate == trials.base
    assert trials.best.is_complete
    assert sorted(trials.best.values) == list(range(24))
    assert trials.calls_spent == desk.scorer.num_calls == 24


def test_the_best_wins_and_those_that_cannot_win_are_dropped_early() -> None:
    desk = Desk(by_length, num_rows=32)
    trials = desk.trials()
    tried = trials.race(texts(1, 40, 2, 30))
    assert [len(t.candidate.instruction) for t in tried] == [1, 40, 2, 30]
    assert [t.is_complete for t in tried] == [False, True, False, False]
    assert [len(t.values) for t in tried] == [8, 32, 8, 8]
    assert trials.best is tried[1]
    assert trials.calls_spent == desk.scorer.num_calls == 32 + 3 * 8 + 32


def test_ties_go_to_the_earlier_one() -> None:
    trials = Desk(lambda candidate, row: 0.5).trials()
    trials.race(texts(3, 4))
    assert trials.best.candidate == trials.base


def test_nothing_is_scored_twice_or_charged_twice() -> None:
    desk = Desk(by_length)
    trials = desk.trials()
    trials.race(texts(50))
    spent = trials.calls_spent
    trials.measure(TextCandidate("x" * 50), [0, 1, 2])
    assert trials.race(texts(50)) == []
    assert trials.calls_spent == spent == desk.scorer.num_calls
    seen = [(candidate, row) for candidate, rows in desk.scorer.asked for row in rows]
    assert len(seen) == len(set(seen))


def test_a_candidate_is_never_scored_on_what_it_shows() -> None:
    desk = Desk(lambda candidate, row: float(row in candidate.demonstrations))
    desk.examples[7] = desk.examples[2]
    desk.examples[7] = type(desk.examples[2])({"text": "ROW  number 2"}, ("a",))
    trials = desk.trials()
    (trial,) = trials.race([TextCandidate("Sort.", (2, 5))])
    assert trial.values.keys() == set(range(24)) - {2, 5, 7}
    assert trial.mean == 0.0
    with pytest.raises(ValueError, match="rows that it shows"):
        trials.measure(TextCandidate("Sort.", (2,)), [1, 7])


def test_what_the_model_has_no_room_for_does_not_take_part() -> None:
    trials = Desk(by_length).trials()
    assert trials.race(texts(3000)) == []
    with pytest.raises(ValueError, match="no room"):
        trials.measure(TextCandidate("x" * 3000), [0])


@pytest.mark.parametrize("calls", [1, 23, 24, 25, 60, 100])
def test_calls_are_never_exceeded(calls: int) -> None:
    desk = Desk(by_length, calls=calls)
    trials = desk.trials()
    with pytest.raises(SearchEnded, match="metric calls"):
        trials.race(texts(*range(30, 40)))
    assert desk.scorer.num_calls == trials.calls_spent <= calls


@pytest.mark.parametrize("kept", [0, 10])
def test_seconds_are_never_exceeded_with_those_kept_for_choosing(kept: int) -> None:
    desk = Desk(by_length, num_rows=100, calls=10**6, seconds=200.0, options={"kept_calls": kept})
    desk.scorer.seconds = 1.0
    trials = desk.trials()
    with pytest.raises(SearchEnded, match="seconds"):
        trials.race(texts(*range(30, 60)))
    assert 100 <= desk.scorer.clock.now < 200 - kept


@pytest.mark.parametrize("kept", [0, 10])
def test_money_is_never_exceeded_with_that_kept_for_choosing(kept: int) -> None:
    desk = Desk(by_length, num_rows=100, calls=10**6, money=20.0, options={"kept_paid_calls": kept})
    desk.scorer.money = 0.125
    trials = desk.trials()
    with pytest.raises(SearchEnded, match="money"):
        trials.race(texts(*range(30, 60)))
    assert 12.5 <= desk.budget.money_spent <= 20.0 - kept * 0.125
    assert desk.budget.money_spent == desk.scorer.num_calls * 0.125


def test_a_search_that_was_killed_goes_on_to_the_same_scores(tmp_path: Path) -> None:
    def run(desk: Desk) -> list[tuple[TextCandidate, dict[int, float]]]:
        trials = desk.trials()
        trials.race(texts(10, 50, 20))
        trials.race(texts(60, 30))
        return [(trial.candidate, dict(trial.values)) for trial in trials.history]

    whole = Desk(by_length, num_rows=40, path=tmp_path / "whole")
    expected = run(whole)
    for kill in range(1, len(whole.scorer.asked)):
        path = tmp_path / f"killed-{kill}"
        killed = Desk(by_length, num_rows=40, path=path)
        killed.scorer.most_calls = kill
        with pytest.raises(KeyboardInterrupt):
            run(killed)
        resumed = Desk(by_length, num_rows=40, path=path)
        assert run(resumed) == expected
        assert resumed.budget.calls_spent == whole.budget.calls_spent
        assert resumed.scorer.num_calls == whole.scorer.num_calls - killed.scorer.num_calls


def test_what_was_paid_before_a_failure_counts_in_the_next_session(tmp_path: Path) -> None:
    desk = Desk(by_length, money=100.0, path=tmp_path / "log")
    desk.scorer.money = 0.5
    score = desk.scorer.score

    def fail(candidate: TextCandidate, rows: Sequence[int]) -> list[RowScore]:
        score(candidate, rows)
        raise RemoteError("gone")

    desk.scorer.score = fail  # type: ignore[method-assign]
    with pytest.raises(RemoteError, match="gone"):
        _ = desk.trials().best
    assert desk.budget.money_spent == 12.0
    again = Desk(by_length, money=100.0, path=tmp_path / "log")
    again.trials()
    assert again.budget.money_spent == 12.0


def test_proposals_are_asked_for_once_over_all_sessions(tmp_path: Path) -> None:
    request = Request("paraphrase", instruction="Sort the message. Answer only with the class.")
    answers = []
    spies = [SpyProposer(), SpyProposer()]
    for spy in spies:
        trials = Desk(by_length, proposer=spy, path=tmp_path / "log").trials()
        answers.append([trials.propose(request, 3), trials.propose(request, 3)])
    assert answers[0] == answers[1]
    assert answers[0][0] != answers[0][1]
    assert [len(spy.asked) for spy in spies] == [2, 0]


def test_what_is_empty_double_or_endless_is_left_out_of_proposals() -> None:
    class Careless(SpyProposer):
        def propose(self, request: Request, count: int, seed: int) -> list[str]:
            return [" ", "one ", "one", "x" * 5000, "two", "three"]

    trials = Desk(by_length, proposer=Careless()).trials()
    assert trials.propose(Request("paraphrase"), 2) == ["one", "two"]


def test_each_strategy_draws_from_a_generator_of_its_own() -> None:
    trials = Desk(by_length).trials()
    draws = []
    for name, seed in (("one", 0), ("two", 0), ("one", 1), ("one", 0)):
        trials.begin(name, seed=seed)
        draws.append(trials.generator.random())
    assert draws[0] == draws[3]
    assert len(set(draws)) == 3
