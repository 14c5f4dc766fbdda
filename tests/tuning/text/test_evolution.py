from tests.tuning.text.planted_instructions import TASK_WITH_MORE, against_chance, planted
from tests.tuning.text.scripted_search import Desk, SpyProposer
from tuningfork.tuning.text.evolution import Evolution


def test_it_finds_the_planted_instruction_better_than_chance_at_equal_calls() -> None:
    ours, chance = against_chance(Evolution())
    assert all(one > other for one, other in zip(ours, chance, strict=True))
    assert sum(ours) > sum(chance) + 1


def test_parents_are_of_those_that_live() -> None:
    spy = SpyProposer()
    desk = Desk(planted, task=TASK_WITH_MORE, calls=1500, proposer=spy)
    trials = desk.search(Evolution())
    crossings = [request for request in spy.asked if request.kind == "combine"]
    assert len(crossings) > 10
    complete = {t.candidate.instruction: t.mean for t in trials.history if t.is_complete}
    parents = [complete[text] for request in crossings for text in (request.instruction, request.other)]
    late, early = parents[-20:], parents[:20]
    assert sum(late) / 20 > sum(early) / 20
