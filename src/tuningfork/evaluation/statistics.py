"""Intervals, paired comparisons and verdicts for scores of the same rows.

Every function is sane for small test sets: no interval is ever NaN, and none has zero width only because
all scores happen to be equal.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Scores = NDArray[np.float64]
Verdict = Literal["better", "worse", "equivalent", "not enough data"]

_RESAMPLES = 4999
_POWER = 0.8
_MOST_SCORES_TO_RESAMPLE = 2000
"""Above this, Student's interval alone is used: both agree there, and BCa's jackknife costs n squared."""
_SCORES_PER_BATCH = 2**21
_MOST_ROWS_WORTH_NAMING = 1_000_000
_NEGLIGIBLE = 1e-12
"""Relative size of what is taken for a rounding error."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval from `low` to `high`; an end that the data cannot bound is infinite."""

    low: float
    high: float
    level: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    @property
    def width(self) -> float:
        """`high - low`."""
        return self.high - self.low


@dataclass(frozen=True, slots=True)
class SeedBand:
    """How one method varies over training seeds.

    `interval` is Student's interval of the mean over seeds, or None where fewer than two different values
    say nothing about the spread.
    """

    n: int
    minimum: float
    median: float
    maximum: float
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """What one test set says about a candidate against a baseline on the same `n` rows.

    `mean` is candidate minus baseline. `flips_better` and `flips_worse` hold the indices of the rows where
    the candidate did better or worse. `mcnemar_p` is None unless all scores are 0 or 1.
    `equivalence_interval` is the one the verdict "equivalent" rests on (90 % for a level of 95 %).
    `needed_n` estimates the rows that would make the effect decidable with 80 % power: an effect of the
    observed size or, if that is larger, of the margin; None if no number of rows would.
    """

    n: int
    mean: float
    interval: Interval
    equivalence_interval: Interval
    margin: float | None
    mcnemar_p: float | None
    flips_better: list[int]
    flips_worse: list[int]
    verdict: Verdict
    needed_n: int | None

    def sentence(self, metric_name: str, names: tuple[str, str]) -> str:
        """Return the verdict as one sentence; `names` are the candidate's and the baseline's."""
        candidate, baseline = names
        digits = _digits(self)
        difference = f"{_signed(self.mean, digits)} {metric_name}"
        evidence = f"{difference}, {_describe(self.interval, digits)}, n = {self.n}"
        match self.verdict:
            case "better" | "worse":
                text = f"{candidate} is {self.verdict} than {baseline}: {evidence}."
            case "equivalent":
                within = _describe(self.equivalence_interval, digits)
                text = (
                    f"{candidate} and {baseline} are equivalent: {difference}, {within}, "
                    f"margin {self.margin:g}, n = {self.n}."
                )
            case "not enough data":
                text = (
                    f"not enough data to tell {candidate} from {baseline}: {evidence}; "
                    f"{self._describe_needed_n()}."
                )
        return text[:1].upper() + text[1:]

    def _describe_needed_n(self) -> str:
        if self.needed_n is None and self.mean == 0 and self.margin is None:
            return "no number of test rows can show that there is no difference: set a margin"
        if self.needed_n is None:
            return "more test rows are needed"
        if self.needed_n > _MOST_ROWS_WORTH_NAMING:
            return "more than a million test rows would be needed"
        scale: int = 10 ** max(0, len(str(self.needed_n)) - 2)
        return f"about {math.ceil(self.needed_n / scale) * scale:,} test rows would be needed"


def wilson_interval(successes: int, n: int, level: float = 0.95) -> Interval:
    """Return the Wilson score interval of a proportion; with no trials it is 0 to 1.

    Raises:
        ValueError: If `successes` is not in 0..`n`, or `level` is not between 0 and 1.
    """
    _check_level(level)
    if not 0 <= successes <= n:
        raise ValueError(f"successes must lie in 0..{n}, found {successes}")
    if n == 0:
        return Interval(0.0, 1.0, level)
    z_squared = float(stats.norm.ppf(0.5 + level / 2)) ** 2
    share = successes / n
    centre = (share + z_squared / (2 * n)) / (1 + z_squared / n)
    spread = math.sqrt(z_squared * (share * (1 - share) / n + z_squared / (4 * n * n))) / (1 + z_squared / n)
    low = 0.0 if successes == 0 else max(0.0, centre - spread)
    high = 1.0 if successes == n else min(1.0, centre + spread)
    return Interval(low, high, level)


def mean_interval(
    scores: ArrayLike,
    *,
    level: float = 0.95,
    bounds: tuple[float, float] | None = None,
    rng: np.random.Generator,
) -> Interval:
    """Return a confidence interval of the mean score.

    Scores that are all 0 or 1, unless `bounds` says that they could be others, get Wilson's interval. All
    others get the hull of the BCa bootstrap, at a level expanded for small samples, and Student's interval:
    BCa alone misses too often below 20 scores or where most are equal, Student's where they are skewed.
    `bounds` are the smallest and largest score the metric can give; without them, one score, or scores that
    are all equal, leave the mean unbounded.

    Sources: Efron (1987), Better bootstrap confidence intervals; Hesterberg (2014), What teachers should
    know about the bootstrap, https://arxiv.org/abs/1411.5279, for the expanded level.

    Raises:
        ValueError: If there is no score, one is not finite or lies outside `bounds`, or `level` is not
            between 0 and 1.
    """
    _check_level(level)
    values = _as_scores(scores, bounds)
    if _are_pass_fail(values) and bounds in (None, (0, 1)):
        return wilson_interval(int(values.sum()), len(values), level)
    low, high = bounds if bounds is not None else (-math.inf, math.inf)
    return _intervals_of_mean(values, (level,), (low, high), rng)[0]


def paired_difference(
    candidate: ArrayLike,
    baseline: ArrayLike,
    *,
    margin: float | None = None,
    level: float = 0.95,
    bounds: tuple[float, float] | None = None,
    higher_is_better: bool = True,
    rng: np.random.Generator,
) -> PairedDifference:
    """Compare two prompts by their scores on the same rows, in the same order.

    The interval is that of `mean_interval` over the row-wise differences. For 0/1 scores it is widened to
    hold the interval that the exact McNemar test implies, so it excludes zero only where that test does too.
    Where all n differences are equal, the rows that could differ are at most a share
    1 - (alpha / 2) ** (1 / n) of all (the exact form of the rule of three), and the interval moves that share
    to the ends of the range: twice `bounds`' width, or without bounds twice the range of the scores seen.

    "better" and "worse" mean that the interval excludes zero. With a `margin`, the smallest difference that
    matters, "equivalent" means that two one-sided tests hold (TOST), i.e. that the interval at level
    1 - 2 * alpha lies inside it; it takes precedence over a difference that is real but too small to matter.

    Raises:
        ValueError: If the lengths differ, there is no row, a score is not finite or outside `bounds`, the
            margin is not positive, or `level` is not above 0.5 and below 1.
    """
    _check_level(level)
    if level <= 0.5:
        raise ValueError(f"the level of a comparison must be above 0.5, found {level}")
    if margin is not None and not 0 < margin < math.inf:
        raise ValueError(f"the margin must be positive and finite, found {margin}")
    ours, theirs = _as_scores(candidate, bounds), _as_scores(baseline, bounds)
    if len(ours) != len(theirs):
        raise ValueError(f"paired scores need the same rows, found {len(ours)} and {len(theirs)}")
    differences = ours - theirs
    gains = differences if higher_is_better else -differences
    better, worse = np.flatnonzero(gains > 0).tolist(), np.flatnonzero(gains < 0).tolist()
    reach = _largest_difference(ours, theirs, bounds)
    is_pass_fail = _are_pass_fail(ours, theirs)
    interval, narrower = _intervals_of_mean(differences, (level, 2 * level - 1), (-reach, reach), rng)
    if is_pass_fail and differences.any():
        interval = _hull(interval, _implied_by_mcnemar(differences, interval.level))
        narrower = _hull(narrower, _implied_by_mcnemar(differences, narrower.level))
    verdict = _decide(interval, narrower, margin, higher_is_better)
    needed_n = _needed_n(differences, level, margin, reach)
    if verdict == "not enough data" and needed_n is not None:
        needed_n = max(needed_n, len(differences) + 1)
    return PairedDifference(
        n=len(differences),
        mean=float(differences.mean()),
        interval=interval,
        equivalence_interval=narrower,
        margin=margin,
        mcnemar_p=_mcnemar_p(len(better), len(worse)) if is_pass_fail else None,
        flips_better=better,
        flips_worse=worse,
        verdict=verdict,
        needed_n=needed_n,
    )


def seed_band(values: ArrayLike, level: float = 0.95) -> SeedBand:
    """Return how a score varies over training seeds.

    Raises:
        ValueError: If there is no value, one is not finite, or `level` is not between 0 and 1.
    """
    _check_level(level)
    scores = _as_scores(values, None)
    interval = _student_interval(scores, level) if not _are_equal(scores) else None
    return SeedBand(len(scores), float(scores.min()), float(np.median(scores)), float(scores.max()), interval)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"a confidence level lies between 0 and 1, found {level}")


def _as_scores(values: ArrayLike, bounds: tuple[float, float] | None) -> Scores:
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1 or len(scores) == 0:
        raise ValueError(f"scores must be a list with at least one number, found shape {scores.shape}")
    if not np.isfinite(scores).all():
        position = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise ValueError(f"score {position} is {scores[position]}, not a finite number")
    if bounds is not None and not bounds[0] < bounds[1]:
        raise ValueError(f"the lower bound of a score must be below the upper one, found {bounds}")
    if bounds is not None and (scores.min() < bounds[0] or scores.max() > bounds[1]):
        raise ValueError(
            f"scores must lie in {bounds[0]}..{bounds[1]}, found {scores.min():g}..{scores.max():g}"
        )
    return scores


def _are_pass_fail(*scores: Scores) -> bool:
    return all(bool(np.isin(values, (0.0, 1.0)).all()) for values in scores)


def _are_equal(values: Scores) -> bool:
    # A spread of mere rounding says nothing, and would send the bootstrap's acceleration to infinity.
    return float(np.ptp(values)) <= _NEGLIGIBLE * max(1.0, float(np.abs(values).max()))


def _intervals_of_mean(
    values: Scores, levels: Sequence[float], bounds: tuple[float, float], rng: np.random.Generator
) -> list[Interval]:
    n, mean = len(values), float(values.mean())
    low, high = bounds
    if n == 1:
        return [Interval(low, high, level) for level in levels]
    if _are_equal(values):
        shares = [(_largest_unseen_share(n, level), level) for level in levels]
        return [Interval(mean - s * (mean - low), mean + s * (high - mean), level) for s, level in shares]
    student = [_student_interval(values, level) for level in levels]
    resampled = student if n > _MOST_SCORES_TO_RESAMPLE else _bootstrap_intervals(values, levels, rng)
    return [
        Interval(
            max(low, min(one.low, other.low, mean)), min(high, max(one.high, other.high, mean)), one.level
        )
        for one, other in zip(student, resampled, strict=True)
    ]


def _student_interval(values: Scores, level: float) -> Interval:
    n, mean = len(values), float(values.mean())
    half = float(stats.t.ppf(0.5 + level / 2, n - 1) * values.std(ddof=1)) / math.sqrt(n)
    return Interval(mean - half, mean + half, level)


def _bootstrap_intervals(values: Scores, levels: Sequence[float], rng: np.random.Generator) -> list[Interval]:
    n, mean = len(values), float(values.mean())
    intervals, previous = [], None
    for level in levels:
        quantile = float(stats.t.ppf(0.5 + level / 2, n - 1)) * math.sqrt(n / (n - 1))
        with warnings.catch_warnings():
            # With two or three scores BCa can be undefined; the caller's hull then keeps Student's interval.
            warnings.simplefilter("ignore", stats.DegenerateDataWarning)
            warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"scipy\.stats")
            previous = stats.bootstrap(
                (values,),
                np.mean,
                n_resamples=0 if previous else _RESAMPLES,
                bootstrap_result=previous,
                batch=max(1, _SCORES_PER_BATCH // n),
                confidence_level=1 - 2 * float(stats.norm.sf(quantile)),
                method="BCa",
                rng=rng,
            )
        low, high = map(float, previous.confidence_interval)
        intervals.append(
            Interval(low if math.isfinite(low) else mean, high if math.isfinite(high) else mean, level)
        )
    return intervals


def _largest_unseen_share(n: int, level: float) -> float:
    """Return the largest share of rows that could be unlike the n equal ones seen (Clopper-Pearson)."""
    return 1.0 - float((0.5 - level / 2) ** (1 / n))


def _largest_difference(ours: Scores, theirs: Scores, bounds: tuple[float, float] | None) -> float:
    if bounds is not None:
        return bounds[1] - bounds[0]
    if _are_pass_fail(ours, theirs):
        return 1.0
    if len(ours) == 1:
        return math.inf
    both = np.concatenate([ours, theirs])
    # Scores that were all equal show no range: take the distance to zero, which nearly all metrics can give.
    return float(np.ptp(both)) or float(np.abs(both).max())


def _implied_by_mcnemar(differences: Scores, level: float) -> Interval:
    """Return the mean difference at the ends of the exact interval of the share of wins among flips."""
    flips, wins = int(np.count_nonzero(differences)), int(np.count_nonzero(differences > 0))
    tail = 0.5 - level / 2
    low = float(stats.beta.ppf(tail, wins, flips - wins + 1)) if wins else 0.0
    high = float(stats.beta.isf(tail, wins + 1, flips - wins)) if wins < flips else 1.0
    rate = flips / len(differences)
    return Interval(rate * (2 * low - 1), rate * (2 * high - 1), level)


def _hull(one: Interval, other: Interval) -> Interval:
    return Interval(min(one.low, other.low), max(one.high, other.high), one.level)


def _mcnemar_p(better: int, worse: int) -> float:
    discordant = better + worse
    return float(stats.binomtest(better, discordant).pvalue) if discordant else 1.0


def _decide(interval: Interval, narrower: Interval, margin: float | None, higher_is_better: bool) -> Verdict:
    if margin is not None and -margin < narrower.low and narrower.high < margin:
        return "equivalent"
    if 0.0 in interval:
        return "not enough data"
    return "better" if (interval.low > 0) == higher_is_better else "worse"


def _needed_n(differences: Scores, level: float, margin: float | None, reach: float) -> int | None:
    """Return the rows needed to show a difference of the observed size or, if larger, the margin.

    With a margin that is not exceeded, the rows must also suffice to show equivalence of equal prompts. The
    difference counts as tested by a McNemar-like statistic, whose spread under the null is the root mean
    square.
    """
    observed = abs(float(differences.mean()))
    size = max(observed, margin or 0.0)
    if size <= _NEGLIGIBLE * reach:
        return None
    alpha = 1 - level
    if _are_equal(differences):
        # Inverts the interval that equal differences get: it must exclude zero, or lie inside the margin.
        if observed == size:
            return math.ceil(math.log(alpha / 2) / math.log1p(-size / (observed + reach)))
        share = (size - observed) / (reach - observed) if size < reach else 1.0
        return math.ceil(math.log(alpha) / math.log1p(-share)) if share < 1 else 1
    mean_square = float(np.square(differences).mean())
    spread = math.sqrt(max(mean_square - size**2, 0.0))
    null_quantile, power_quantile = stats.norm.ppf([1 - alpha / 2, _POWER])
    needed = ((null_quantile * math.sqrt(mean_square) + power_quantile * spread) / size) ** 2
    if observed < size:
        one_sided, both_sides = stats.norm.ppf([1 - alpha, (1 + _POWER) / 2])
        needed = max(needed, float(differences.var()) * ((one_sided + both_sides) / size) ** 2)
    return math.ceil(float(needed))


def _digits(difference: PairedDifference) -> int:
    shown = (difference.interval.low, difference.interval.high, difference.mean)
    largest = max(abs(value) for value in shown if math.isfinite(value))
    return 1 if largest > 1 else 3


def _signed(value: float, digits: int) -> str:
    if math.isinf(value):
        return "unbounded"
    rounded = round(value, digits) + 0.0
    return f"{rounded:+.{digits}f}"


def _describe(interval: Interval, digits: int) -> str:
    low, high = _signed(interval.low, digits), _signed(interval.high, digits)
    return f"{100 * interval.level:g} % interval [{low}, {high}]"
