"""Ways of adapting the embedded model against each other, on the same test rows."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tuningfork.evaluation.statistics import PairedDifference, paired_difference
from tuningfork.tasks.metrics import get_metric

Record = dict[str, Any]


def row_scores(records: Sequence[Record]) -> list[float]:
    """One score a test row: its mean over the draws that share it."""
    by_draw = [
        [get_metric(r["metric"]).score(p, t) for p, t in zip(r["predictions"], r["targets"], strict=True)]
        for r in records
    ]
    if all(record["targets"] == records[0]["targets"] for record in records):
        return [float(np.mean(scores)) for scores in zip(*by_draw, strict=True)]
    return [one for scores in by_draw for one in scores]


def mean_score(records: Sequence[Record]) -> float:
    """Mean over draws."""
    return float(np.mean([record["score"] for record in records]))


def of_way(records: Iterable[Record], task: str, way: str) -> list[Record]:
    """What was measured of a way, by draw."""
    found = [r for r in records if r["draw"].startswith(f"{task}/") and r["way"] == way]
    return sorted(found, key=lambda record: str(record["draw"]))


def best_way(records: Sequence[Record], task: str, ways: Iterable[str]) -> str | None:
    """The way with the highest mean; None if none was measured."""
    means = {way: mean_score(found) for way in ways if (found := of_way(records, task, way))}
    return max(means, key=means.__getitem__) if means else None


def difference(records: Sequence[Record], task: str, way: str, baseline: str) -> PairedDifference | None:
    """`way` minus `baseline`, paired by test row, over the draws that both were measured on."""
    ours, theirs = of_way(records, task, way), of_way(records, task, baseline)
    draws = {r["draw"] for r in ours} & {r["draw"] for r in theirs}
    if not draws:
        return None
    metric = get_metric(ours[0]["metric"])
    return paired_difference(
        row_scores([r for r in ours if r["draw"] in draws]),
        row_scores([r for r in theirs if r["draw"] in draws]),
        bounds=(0.0, metric.maximum),
        higher_is_better=metric.higher_is_better,
        rng=np.random.default_rng(0),
    )


def log_loss_difference(
    records: Sequence[Record], task: str, way: str, baseline: str
) -> PairedDifference | None:
    """As `difference`, of the log-loss of each test row; None where a record does not have them."""
    ours, theirs = of_way(records, task, way), of_way(records, task, baseline)
    pairs = [
        (one["log_losses"], other["log_losses"])
        for one in ours
        for other in theirs
        if one["draw"] == other["draw"] and one.get("log_losses") and other.get("log_losses")
    ]
    if not pairs:
        return None
    candidate, reference = (np.mean([pair[side] for pair in pairs], axis=0) for side in (0, 1))
    return paired_difference(candidate, reference, higher_is_better=False, rng=np.random.default_rng(0))
