"""Scores of a split, whose rows may not count alike: intervals, and comparisons row by row."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from tuningfork.evaluation.split_scores import split_difference, split_interval
from tuningfork.evaluation.statistics import Interval, PairedDifference, mean_interval, paired_difference
from tuningfork.tasks.answers import Answers
from tuningfork.tasks.metrics import Metric
from tuningfork.tasks.split_metrics import SplitMetric


class ScoredRows(Protocol):
    """What is compared: an evaluation, or rows of one that were kept."""

    @property
    def scores(self) -> Sequence[float]:
        """The metric of each row."""

    @property
    def weights(self) -> Sequence[float] | None:
        """What the score of each row counts for; None if all count alike."""

    @property
    def answers(self) -> Answers:
        """The rows as metrics of a whole split take them."""


def row_values(scores: Sequence[float], weights: Sequence[float] | None) -> list[float]:
    """One number for each row; their mean is the weighed mean of `scores`, and their spread that of it.

    With R the weighed mean and W the mean weight, the value of a row of score s and weight w is
    R + w (s - R) / W: the linearisation of a ratio of two sums, Cochran 1977, "Sampling Techniques", 3rd
    edition, chapter 6, there for the variance of a ratio. Without weights, or where all are 0, these are
    the scores as they are.
    """
    if weights is None or not any(weights):
        return list(scores)
    total, count = sum(weights), len(weights)
    ratio = sum(weight * score for weight, score in zip(weights, scores, strict=True)) / total
    return [
        ratio + weight * count / total * (score - ratio)
        for weight, score in zip(weights, scores, strict=True)
    ]


def score_interval(evaluation: ScoredRows, metric: Metric, rng: np.random.Generator) -> Interval:
    """The interval of `mean_interval` for the score of a split, rows that count for nothing left out."""
    if isinstance(metric, SplitMetric):
        return split_interval(metric, [evaluation.answers], rng)
    (values,) = _counted(evaluation)
    found = mean_interval(values, bounds=_reach(values, metric), rng=rng)
    return _clipped(found, 0.0, metric.maximum)


def score_difference(
    candidate: ScoredRows,
    baseline: ScoredRows,
    metric: Metric,
    rng: np.random.Generator,
    *,
    margin: float | None = None,
    level: float = 0.95,
) -> PairedDifference:
    """The `paired_difference` of two scores of a split, rows that count for nothing in both left out."""
    if isinstance(metric, SplitMetric):
        return split_difference(
            metric, [candidate.answers], [baseline.answers], rng, margin=margin, level=level
        )
    ours, theirs = _counted(candidate, baseline)
    found = paired_difference(
        ours,
        theirs,
        margin=margin,
        level=level,
        bounds=_reach([*ours, *theirs], metric),
        higher_is_better=metric.higher_is_better,
        rng=rng,
    )
    most = metric.maximum
    return replace(
        found,
        interval=_clipped(found.interval, -most, most),
        equivalence_interval=_clipped(found.equivalence_interval, -most, most),
    )


def _counted(*evaluations: ScoredRows) -> list[list[float]]:
    """The values of the rows of each evaluation that count in one of them; of all where none does."""
    weights = [each.weights for each in evaluations if each.weights is not None]
    everywhere = range(len(evaluations[0].scores))
    counting = [place for place in everywhere if any(some[place] for some in weights)]
    places = counting or everywhere
    return [
        row_values(
            [each.scores[place] for place in places],
            None if each.weights is None else [each.weights[place] for place in places],
        )
        for each in evaluations
    ]


def _reach(values: Sequence[float], metric: Metric) -> tuple[float, float]:
    """Bounds of scores, widened to hold `values`."""
    return min(0.0, *values), max(metric.maximum, *values)


def _clipped(interval: Interval, low: float, high: float) -> Interval:
    return Interval(max(low, interval.low), min(high, interval.high), interval.level)
