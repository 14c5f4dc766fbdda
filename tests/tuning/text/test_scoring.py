from tests.tuning.text.scripted_search import ScriptedScorer
from tuningfork.tuning.text.candidates import TextCandidate
from tuningfork.tuning.text.scoring import RowScore, Scorer


def test_a_scorer_scores_rows_in_their_order() -> None:
    scorer: Scorer = ScriptedScorer(lambda candidate, row: row + len(candidate.instruction))
    assert scorer.score(TextCandidate("ab"), [3, 1]) == [RowScore(5, "said 3"), RowScore(3, "said 1")]
