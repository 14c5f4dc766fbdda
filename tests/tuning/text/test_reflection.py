import pytest

from tests.tuning.text.planted_instructions import TASK_WITH_MORE, against_chance, planted
from tests.tuning.text.scripted_search import Desk, SpyProposer
from tuningfork.tuning.text.budget import SearchEnded
from tuningfork.tuning.text.candidates import TextCandidate
from tuningfork.tuning.text.reflection import Reflection

pytest.importorskip("gepa")


def test_it_finds_the_planted_instruction_better_than_chance_at_equal_calls() -> None:
    ours, chance = against_chance(Reflection())
    assert all(one > other for one, other in zip(ours, chance, strict=True))
    assert sum(ours) > sum(chance) + 1


def test_the_proposer_is_told_what_was_answered_and_what_is_right_worst_first() -> None:
    spy = SpyProposer()
    desk = Desk(lambda c, row: row / 100 + planted(c, row), task=TASK_WITH_MORE, calls=200, proposer=spy)
    desk.search(Reflection())
    assert spy.asked
    for request in spy.asked:
        rows = [int(mistake.split("row number ")[1].split("'")[0]) for mistake in request.mistakes]
        assert rows == sorted(rows)
        assert len(rows) == 4
        for row, mistake in zip(rows, request.mistakes, strict=True):
            right = desk.examples[row].targets[0]
            assert mistake == (f"to 'row number {row}' the answer was 'said {row}', but {right!r} is right")


def test_nothing_is_printed_and_demonstrations_stay(capsys: pytest.CaptureFixture[str]) -> None:
    trials = Desk(lambda c, row: planted(c, row) + bool(c.demonstrations), task=TASK_WITH_MORE).trials()
    trials.race([TextCandidate(trials.base.instruction, (3, 4))])
    trials.begin("reflection", seed=0)
    with pytest.raises(SearchEnded):
        Reflection().search(trials)
    assert {trial.candidate.demonstrations for trial in trials.history[1:]} == {(3, 4)}
    assert len(trials.history) > 3
    assert capsys.readouterr() == ("", "")
