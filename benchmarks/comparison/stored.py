"""Stored comparisons: the best soft prompt of each shipped task against full fine-tuning."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tuningfork.evaluation.comparison import ComparisonRecord, ContestantRecord, Covers
from tuningfork.evaluation.two_level import seeds_difference
from tuningfork.evaluation.verdicts import value_matrices

FULL = "full fine-tuning"
SHIPPED = ("ticket_routing", "review_sentiment", "order_extraction", "coffee_shop_voice")


@dataclass(frozen=True, slots=True)
class SoftMinusFull:
    """The soft prompt that was best on held-out rows minus full fine-tuning, on the test rows."""

    task: str
    metric: str
    soft: str
    mean: float
    low: float
    high: float
    covers: Covers
    num_rows: int


def load(folder: Path) -> list[ComparisonRecord]:
    """All records of a folder, the newest last; none where there is no folder."""
    records = [
        ComparisonRecord.model_validate_json(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*.json"))
    ]
    return sorted(records, key=lambda record: record.created)


def soft_minus_full(records: Sequence[ComparisonRecord], task: str) -> SoftMinusFull | None:
    """Of the newest record of a shipped task; None if there is none, or one of both was not measured."""
    of_task = [record for record in records if record.task.replace("-", "_") == task]
    if not of_task:
        return None
    record = of_task[-1]
    measured = [one for one in record.contestants if one.status == "measured" and one.seeds]
    full = next((one for one in measured if one.name == FULL), None)
    soft = best_on_held_out_rows(
        [one for one in measured if one.family == "soft"], higher_is_better=record.higher_is_better
    )
    if full is None or soft is None:
        return None
    places, matrices = value_matrices(soft, full)
    low = min(0.0, *(float(matrix.min()) for matrix in matrices))
    high = max(record.metric_maximum, *(float(matrix.max()) for matrix in matrices))
    found = seeds_difference(*matrices, bounds=(low, high), rng=np.random.default_rng(0))
    interval = found.interval(0.95)
    return SoftMinusFull(
        task, record.metric, soft.name, found.mean, interval.low, interval.high, found.covers, len(places)
    )


def best_on_held_out_rows(
    contestants: Sequence[ContestantRecord], *, higher_is_better: bool
) -> ContestantRecord | None:
    """By the score of held-out rows, then their log-loss; test rows have no say. None if none has either."""

    def key(one: ContestantRecord) -> tuple[float, float]:
        score = -np.inf if one.validation_score is None else one.validation_score
        if one.validation_score is not None and not higher_is_better:
            score = -score
        return score, -np.inf if one.validation_log_loss is None else -one.validation_log_loss

    judged = [
        one for one in contestants if one.validation_score is not None or one.validation_log_loss is not None
    ]
    return max(judged, key=key, default=None)
