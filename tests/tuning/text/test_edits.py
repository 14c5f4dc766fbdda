import pytest

from tests.tuning.text.planted_instructions import START, TASK_WITH_MORE, against_chance
from tests.tuning.text.scripted_search import Desk
from tuningfork.tuning.text.budget import SearchEnded
from tuningfork.tuning.text.candidates import TextCandidate
from tuningfork.tuning.text.edits import Edits


def test_it_finds_the_planted_instruction_better_than_chance_at_equal_calls() -> None:
    ours, chance = against_chance(Edits())
    assert all(one > other for one, other in zip(ours, chance, strict=True))
    assert sum(ours) > sum(chance) + 1


def test_demonstrations_of_the_best_stay() -> None:
    desk = Desk(lambda candidate, row: float(candidate.demonstrations == (3,)), task=TASK_WITH_MORE)
    trials = desk.trials()
    trials.race([TextCandidate(START, (3,))])
    trials.begin("edits", seed=0)
    with pytest.raises(SearchEnded, match="metric calls"):
        Edits().search(trials)
    edited = [trial.candidate for trial in trials.history[2:]]
    assert edited
    assert {candidate.demonstrations for candidate in edited} == {(3,)}
