"""Intervals and comparisons for metrics of a whole split, by drawing its rows again.

Where several trainings answered the same rows, the score is the mean of theirs, and a row is drawn for all of
them at once: the interval speaks for these trainings on other rows.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tuningfork.evaluation.statistics import Interval, PairedDifference, Verdict, paired_difference
from tuningfork.tasks.answers import Answers
from tuningfork.tasks.split_metrics import SplitMetric

FloatArray = NDArray[np.float64]
Scored = Callable[[FloatArray], FloatArray]
"""Scores (R,) of R splits that hold each of the N rows as often as their weights (R, N) say."""

_RESAMPLES = 4999
_MOST_ROWS_TO_RESAMPLE = 5000
"""Above this the jackknife alone is used: both agree there, and draws take time."""
_NUMBERS_PER_BATCH = 2**21
_NEGLIGIBLE = 1e-12


def split_interval(
    metric: SplitMetric, trainings: Sequence[Answers], rng: np.random.Generator, *, level: float = 0.95
) -> Interval:
    """Return a confidence interval of the mean score of `trainings`, all on the same N rows.

    It is the hull of the BCa bootstrap over rows, at a level expanded for small samples, and of Student's
    interval with the spread of the jackknife, kept within the metric's range. If no row makes a difference
    to the score, at most a share 1 - (alpha / 2) ** (1 / N) of all rows could, and the interval moves that
    share to the ends of the range.

    Sources: Efron 1987, "Better Bootstrap Confidence Intervals"; Hesterberg 2014,
    https://arxiv.org/abs/1411.5279, for the expanded level.

    Raises:
        ValueError: If there is no training or no row, or they differ in their number of rows.
    """
    count = _num_rows(trainings)
    scored = _mean_scored(metric, trainings)
    (found,) = _intervals(scored, count, (level,), (metric.minimum, metric.maximum), rng)
    return found


def split_difference(
    metric: SplitMetric,
    candidate: Sequence[Answers],
    baseline: Sequence[Answers],
    rng: np.random.Generator,
    *,
    margin: float | None = None,
    level: float = 0.95,
) -> PairedDifference:
    """Compare the mean scores of two sides on the same N rows, drawn for both at once.

    Intervals are those of `split_interval` for the difference; verdicts are drawn from them as
    `paired_difference` does, and the rows that are needed are those it names for `linearised_scores`. Flips
    are the rows whose own scores differ, on average over trainings; there is no McNemar test, which would be
    one of right answers and not of this metric.

    Raises:
        ValueError: If a side has no training or no row, the number of rows differs, or the margin is not
            positive.
    """
    count = _num_rows([*candidate, *baseline])
    reach = metric.maximum - metric.minimum
    ours, theirs = _mean_scored(metric, candidate), _mean_scored(metric, baseline)
    interval, narrower = _intervals(
        lambda weights: ours(weights) - theirs(weights), count, (level, 2 * level - 1), (-reach, reach), rng
    )
    values = [_linearised(scored, count) for scored in (ours, theirs)]
    together = np.concatenate(values)
    rows = paired_difference(
        *values,
        margin=margin,
        level=level,
        bounds=(min(metric.minimum, together.min()), max(metric.maximum, together.max())),
        higher_is_better=metric.higher_is_better,
        rng=rng,
    )
    verdict = _verdict(interval, narrower, margin, metric.higher_is_better)
    needed = rows.needed_n
    if verdict == "not enough data" and needed is not None:
        needed = max(needed, count + 1)
    gains = _own_scores(metric, candidate) - _own_scores(metric, baseline)
    gains = gains if metric.higher_is_better else -gains
    return replace(
        rows,
        mean=_difference(ours, theirs, count),
        interval=interval,
        equivalence_interval=narrower,
        mcnemar_p=None,
        flips_better=np.flatnonzero(gains > 0).tolist(),
        flips_worse=np.flatnonzero(gains < 0).tolist(),
        verdict=verdict,
        needed_n=needed,
    )


def linearised_scores(metric: SplitMetric, answers: Answers) -> list[float]:
    """One number for each row; their mean is the metric of the split, and their spread that of it.

    Of N rows, the value of row i is R + (N - 1) (M - R_i): R is the metric, R_i the metric without row i, M
    the mean of these (the jackknife's influence values: Efron, Tibshirani 1993, "An Introduction to the
    Bootstrap", chapter 11). So methods for means can be used, as for weighed rows.
    """
    found: list[float] = _linearised(_mean_scored(metric, [answers]), len(answers)).tolist()
    return found


def _num_rows(trainings: Sequence[Answers]) -> int:
    counts = {len(answers) for answers in trainings}
    if len(counts) != 1 or counts == {0}:
        raise ValueError(f"expected answers to the same rows, at least one, found {sorted(counts)} rows")
    return counts.pop()


def _mean_scored(metric: SplitMetric, trainings: Sequence[Answers]) -> Scored:
    if not trainings:
        raise ValueError("expected the answers of at least one training, found none")
    rows = [metric.sums(answers) for answers in trainings]

    def scored(weights: FloatArray) -> FloatArray:
        return np.asarray(np.mean([metric.value(weights @ sums) for sums in rows], axis=0))

    return scored


def _own_scores(metric: SplitMetric, trainings: Sequence[Answers]) -> FloatArray:
    return np.asarray(np.mean([metric.row_scores(answers) for answers in trainings], axis=0))


def _whole(scored: Scored, count: int) -> float:
    return float(scored(np.ones((1, count)))[0])


def _difference(ours: Scored, theirs: Scored, count: int) -> float:
    return _whole(ours, count) - _whole(theirs, count)


def _without_each(scored: Scored, count: int) -> FloatArray:
    """Scores (N,) without each row in turn."""
    step = max(1, _NUMBERS_PER_BATCH // count)
    parts = []
    for start in range(0, count, step):
        left_out = np.arange(start, min(start + step, count))
        weights = np.ones((len(left_out), count))
        weights[np.arange(len(left_out)), left_out] = 0.0
        parts.append(scored(weights))
    return np.concatenate(parts)


def _linearised(scored: Scored, count: int) -> FloatArray:
    whole = _whole(scored, count)
    return whole + _influences(scored, count)


def _influences(scored: Scored, count: int) -> FloatArray:
    """How far each row moves the score, times N: the jackknife's; they sum to 0."""
    if count == 1:
        return np.zeros(1)
    without = _without_each(scored, count)
    return np.asarray((count - 1) * (without.mean() - without))


def _drawn(scored: Scored, count: int, rng: np.random.Generator) -> FloatArray:
    """Scores of splits of N rows drawn with replacement."""
    step = max(1, _NUMBERS_PER_BATCH // count)
    parts = []
    for start in range(0, _RESAMPLES, step):
        size = min(step, _RESAMPLES - start)
        rows = rng.integers(count, size=(size, count)) + count * np.arange(size)[:, None]
        weights = np.bincount(rows.ravel(), minlength=size * count).reshape(size, count)
        parts.append(scored(weights.astype(np.float64)))
    return np.concatenate(parts)


def _intervals(
    scored: Scored,
    count: int,
    levels: Sequence[float],
    bounds: tuple[float, float],
    rng: np.random.Generator,
) -> list[Interval]:
    whole, (low, high) = _whole(scored, count), bounds
    influences = _influences(scored, count)
    if np.ptp(influences) <= _NEGLIGIBLE * max(1.0, abs(whole)) * count:
        # Clopper and Pearson's bound on the share of rows unlike all N that were seen.
        shares = [1.0 - (0.5 - level / 2) ** (1 / count) if count > 1 else 1.0 for level in levels]
        return [
            Interval(whole - share * (whole - low), whole + share * (high - whole), level)
            for share, level in zip(shares, levels, strict=True)
        ]
    drawn = _drawn(scored, count, rng) if count <= _MOST_ROWS_TO_RESAMPLE else None
    found = []
    for level in levels:
        half = float(stats.t.ppf(0.5 + level / 2, count - 1) * influences.std(ddof=1)) / math.sqrt(count)
        ends = [whole - half, whole + half]
        if drawn is not None:
            ends += _bca_ends(drawn, whole, influences, level)
        found.append(Interval(max(low, min(ends)), min(high, max(ends)), level))
    return found


def _bca_ends(drawn: FloatArray, whole: float, influences: FloatArray, level: float) -> list[float]:
    """Ends of the bias-corrected and accelerated interval; ties with `whole` count half."""
    count = len(influences)
    below = (np.count_nonzero(drawn < whole) + 0.5 * np.count_nonzero(drawn == whole)) / len(drawn)
    edge = 1 / (len(drawn) + 1)
    bias = float(stats.norm.ppf(min(max(below, edge), 1 - edge)))
    acceleration = float((influences**3).sum() / (6 * (influences**2).sum() ** 1.5))
    quantile = float(stats.t.ppf(0.5 + level / 2, count - 1)) * math.sqrt(count / (count - 1))
    shares = []
    for normal in (-quantile, quantile):
        shifted = bias + normal
        # Beyond this the correction has no meaning; the end is then that of all draws.
        room = 1 - acceleration * shifted
        shares.append(float(stats.norm.cdf(bias + shifted / room)) if room > 0 else float(normal > 0))
    return [float(end) for end in np.quantile(drawn, shares)]


def _verdict(interval: Interval, narrower: Interval, margin: float | None, higher_is_better: bool) -> Verdict:
    if margin is not None and -margin < narrower.low and narrower.high < margin:
        return "equivalent"
    if 0.0 in interval:
        return "not enough data"
    return "better" if (interval.low > 0) == higher_is_better else "worse"
