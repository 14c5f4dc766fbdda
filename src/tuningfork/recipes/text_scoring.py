"""Candidates of a text search on training rows, one number a row."""

from collections.abc import Sequence

from tuningfork.data.example import Example
from tuningfork.evaluation.evaluate import Evaluation
from tuningfork.recipes.text_judges import TextJudge
from tuningfork.tasks.task import Task
from tuningfork.tuning.text.candidates import PromptWriter, TextCandidate
from tuningfork.tuning.text.scoring import RowScore


class TrainingScorer:
    """Scores candidates by a judge; it holds training rows only."""

    def __init__(self, judge: TextJudge, writer: PromptWriter, rows: Sequence[Example]) -> None:
        self._judge = judge
        self._writer = writer
        self._rows = rows

    @property
    def model_key(self) -> str:
        """That of the judge."""
        return self._judge.model_key

    def fits(self, candidate: TextCandidate) -> bool:
        """Whether the model has room for it and any row."""
        return self._judge.fits(self._writer.task(candidate))

    def score(self, candidate: TextCandidate, rows: Sequence[int]) -> list[RowScore]:
        """Score `candidate` on the training rows numbered `rows`."""
        task = self._writer.task(candidate)
        examples = [self._rows[row] for row in rows]
        return row_scores(task, examples, self._judge.evaluate(task, examples))

    def most_money(self, candidate: TextCandidate, rows: Sequence[int]) -> float:
        """What scoring them can cost at most."""
        return self._judge.most_money(self._writer.task(candidate), [self._rows[row] for row in rows])

    def take_money(self) -> float:
        """What was paid since this was last asked."""
        return self._judge.take_money()


def row_scores(task: Task, examples: Sequence[Example], found: Evaluation) -> list[RowScore]:
    """One number for each row; higher is better.

    Where labels have probabilities it is that of the right one: the accuracy to expect if answers were drawn.
    It says more of few rows than right or wrong does, and, other than a log-loss, no single row can outweigh
    all others. Elsewhere it is the task's metric.
    """
    if found.probabilities is not None:
        values = [
            shares[found.labels.index(example.targets[0])]
            for example, shares in zip(examples, found.probabilities, strict=True)
        ]
    else:
        sign = 1.0 if task.scoring.higher_is_better else -1.0
        values = [sign * score for score in found.scores]
    return [RowScore(value, said) for value, said in zip(values, found.predictions, strict=True)]
