"""Rows of evidence as comparisons take them: two versions on the same rows of one set."""

from collections.abc import Sequence
from dataclasses import dataclass

from tuningfork.errors import LibraryError
from tuningfork.library.evidence import EvaluationRow, Evidence
from tuningfork.tasks.answers import Answers
from tuningfork.tasks.metrics import Metric
from tuningfork.tasks.split_metrics import SplitMetric


@dataclass(frozen=True, slots=True)
class StoredScores:
    """An evaluation that was recorded, its rows in the order of their hashes."""

    rows: Sequence[EvaluationRow]
    labels: tuple[str, ...]
    metric: Metric

    @classmethod
    def of(cls, evidence: Evidence) -> "StoredScores":
        """The rows of evaluation evidence.

        Raises:
            LibraryError: if it lacks what its metric needs.
        """
        assert evidence.header.metric is not None
        rows = sorted(evidence.of_kind(EvaluationRow), key=lambda row: row.row)
        metric = evidence.header.metric.metric
        if isinstance(metric, SplitMetric):
            _check_needs(metric, rows)
        return cls(rows, evidence.header.labels, metric)

    @property
    def scores(self) -> list[float]:
        """The metric of each row."""
        return [row.score for row in self.rows]

    @property
    def weights(self) -> list[float] | None:
        """What the score of each row counts for, 1 where nothing is said; None if all count alike."""
        if all(row.weight is None for row in self.rows):
            return None
        return [1.0 if row.weight is None else row.weight for row in self.rows]

    @property
    def answers(self) -> Answers:
        """The rows as metrics of a whole split take them."""
        losses = [row.log_loss for row in self.rows]
        probabilities = [row.probabilities for row in self.rows]
        return Answers(
            [row.answer or "" for row in self.rows],
            [row.targets or ("",) for row in self.rows],
            None if None in losses else [loss for loss in losses if loss is not None],
            None if None in probabilities else [shares for shares in probabilities if shares is not None],
            self.labels,
        )

    @property
    def mean(self) -> float:
        """The metric of all rows together."""
        if isinstance(self.metric, SplitMetric):
            return self.metric.of(self.answers)
        weights = self.weights
        if weights is None or not any(weights):
            return sum(self.scores) / len(self.rows)
        return sum(w * score for w, score in zip(weights, self.scores, strict=True)) / sum(weights)


def paired(ours: Evidence, theirs: Evidence) -> tuple[StoredScores, StoredScores]:
    """Two evaluations on the same set, row beside row; rows that are equal pair in the order they have.

    Raises:
        LibraryError: if they are of other sets or metrics, or do not agree on what is right.
    """
    one, other = StoredScores.of(ours), StoredScores.of(theirs)
    if ours.header.dataset != theirs.header.dataset or sorted(ours.keys) != sorted(theirs.keys):
        raise LibraryError("evaluations on different sets of rows cannot be compared")
    if ours.header.metric != theirs.header.metric:
        raise LibraryError(
            f"an evaluation by {one.metric.name} cannot be compared with one by {other.metric.name}"
        )
    needs_labels = isinstance(one.metric, SplitMetric) and one.metric.needs != "log_losses"
    if needs_labels and (
        one.labels != other.labels or [r.targets for r in one.rows] != [r.targets for r in other.rows]
    ):
        raise LibraryError("the evaluations do not agree on what is right: measure both again")
    return one, other


def _check_needs(metric: SplitMetric, rows: Sequence[EvaluationRow]) -> None:
    def lacks(name: str) -> bool:
        return any(getattr(row, name) is None for row in rows)

    match metric.needs:
        case "log_losses":
            needed = ["log_loss"]
        case "probabilities":
            needed = ["answer", "targets", "probabilities"]
        case _:
            needed = ["answer", "targets"]
    if missing := [name for name in needed if lacks(name)]:
        raise LibraryError(
            f"{metric.name} is of the whole set and needs {' and '.join(missing)} of each row, which the "
            "evidence lacks: measure again"
        )
