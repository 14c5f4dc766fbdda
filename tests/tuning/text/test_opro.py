from tests.tuning.text.planted_instructions import TASK_WITH_MORE, against_chance, planted
from tests.tuning.text.scripted_search import Desk, SpyProposer
from tuningfork.tuning.text.opro import OPRO


def test_it_finds_the_planted_instruction_better_than_chance_at_equal_calls() -> None:
    ours, chance = against_chance(OPRO())
    assert all(one > other for one, other in zip(ours, chance, strict=True))
    assert sum(ours) > sum(chance) + 1


def test_instructions_are_listed_with_their_scores_the_best_last() -> None:
    spy = SpyProposer()
    trials = Desk(planted, task=TASK_WITH_MORE, calls=900, proposer=spy).search(OPRO())
    means = {t.candidate.instruction: t.mean for t in trials.history if t.is_complete}
    for request in spy.asked:
        scores = [score for _, score in request.scored]
        assert scores == sorted(scores)
        assert len(scores) <= 10
        assert all(means[text] == score for text, score in request.scored)
        assert len(request.examples) == 3
    assert max(len(request.scored) for request in spy.asked) > 3
