"""What is known of a mean, as something that gives an interval of any level and a p-value of any value.

Both come from one place, so they never disagree: an interval of level 1 - alpha leaves a value out exactly
if that value's p is below alpha.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

Scores = NDArray[np.float64]

_EXACT = 1e-13
"""How far the end of an interval may be off."""
_STEEP = 1e6
"""Stands for infinity where a root is searched."""


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


class Pivot(Protocol):
    """What is known of one mean."""

    def interval(self, level: float) -> Interval:
        """The interval of that level."""

    def p_value(self, null: float) -> float:
        """The two-sided p of the mean being `null`."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """One row: the mean is somewhere between the ends of its range."""

    low: float
    high: float

    def interval(self, level: float) -> Interval:
        """The whole range."""
        return Interval(self.low, self.high, level)

    def p_value(self, null: float) -> float:
        """1 inside the range."""
        return 1.0 if self.low <= null <= self.high else 0.0


@dataclass(frozen=True, slots=True)
class AllEqual:
    """All `num_rows` values are `mean`: how many rows could be unlike those seen (Clopper-Pearson)."""

    mean: float
    num_rows: int
    low: float
    high: float

    def interval(self, level: float) -> Interval:
        """The mean, moved to either end of the range for the largest share of rows not seen."""
        share = 1.0 - float((0.5 - level / 2) ** (1 / self.num_rows))
        low = self.mean - share * (self.mean - self.low)
        return Interval(low, self.mean + share * (self.high - self.mean), level)

    def p_value(self, null: float) -> float:
        """Twice the chance that a share of rows that makes the mean `null` stays unseen."""
        if null == self.mean:
            return 1.0
        reach = self.mean - self.low if null < self.mean else self.high - self.mean
        share = abs(self.mean - null) / reach if reach > 0 else 1.0
        return min(1.0, 2 * max(0.0, 1 - share) ** self.num_rows)


@dataclass(frozen=True, slots=True)
class Student:
    """A mean with a standard error of `freedom` degrees of freedom."""

    mean: float
    error: float
    freedom: float

    def interval(self, level: float) -> Interval:
        """The mean plus and minus a quantile of Student's t."""
        half = t_quantile(level, self.freedom) * self.error
        return Interval(self.mean - half, self.mean + half, level)

    def p_value(self, null: float) -> float:
        """Of Student's t test."""
        return t_p_value(abs(self.mean - null) / self.error, self.freedom)


@dataclass(frozen=True, slots=True)
class Resampled:
    """The BCa bootstrap of a mean, from sorted means of resamples.

    The normal quantile of each level is replaced by Student's times `stretch`, which makes up for resamples
    that vary less (or more) than samples do.

    Sources: Efron (1987), Better bootstrap confidence intervals; Hesterberg (2014), What teachers should
    know about the bootstrap, https://arxiv.org/abs/1411.5279, section 5.3, for the expanded level.
    """

    mean: float
    resamples: Scores
    bias: float
    """Efron's z0."""
    acceleration: float
    stretch: float
    freedom: float

    def interval(self, level: float) -> Interval:
        """Quantiles of the resamples; the mean is never left out."""
        z = t_quantile(level, self.freedom) * self.stretch
        low, high = np.quantile(self.resamples, [self._share(-z), self._share(z)])
        return Interval(min(float(low), self.mean), max(float(high), self.mean), level)

    def p_value(self, null: float) -> float:
        """Of the level at which the interval ends at `null`; 0 if no resample comes that far."""
        if null == self.mean:
            return 1.0
        sign = 1 if null < self.mean else -1
        resamples = self.resamples if sign > 0 else -self.resamples[::-1]
        share = _share_up_to(resamples, sign * null)
        if share == 0:
            return 0.0
        bias, acceleration = sign * self.bias, sign * self.acceleration
        beyond = float(special.ndtri(share)) - bias
        slope = 1 + acceleration * beyond
        if slope <= 0:
            # No level brings the end of the interval that far out, or that far in.
            return 0.0 if beyond < 0 else 1.0
        return t_p_value(max(0.0, bias - beyond / slope) / self.stretch, self.freedom)

    def _share(self, z: float) -> float:
        moved = self.bias + z
        slope = 1 - self.acceleration * moved
        if slope <= 0:
            return float(moved > 0)
        return float(special.ndtr(self.bias + moved / slope))


@dataclass(frozen=True, slots=True)
class Score:
    """Tango's score interval of the difference of two paired proportions.

    With no difference it tests (wins - losses) / sqrt(wins + losses), McNemar's statistic. Student's
    quantile with n - 1 degrees of freedom takes the place of the normal one, which for few rows is too low.

    Source: Tango (1998), Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design, Statistics in Medicine 17:891-908; recommended by Fagerland, Lydersen and Laake
    (2014), Statistics in Medicine 33:2850-2875.
    """

    wins: int
    losses: int
    num_rows: int

    def interval(self, level: float) -> Interval:
        """All differences that the score test does not reject."""
        quantile = t_quantile(level, self.num_rows - 1)
        mean = (self.wins - self.losses) / self.num_rows
        low = _edge(lambda value: self._statistic(value) - quantile, mean, -1.0)
        high = _edge(lambda value: -self._statistic(value) - quantile, mean, 1.0)
        return Interval(low, high, level)

    def p_value(self, null: float) -> float:
        """Of the score test; 0 for what no difference of proportions can be."""
        if not -1 <= null <= 1:
            return 0.0
        return t_p_value(abs(self._statistic(null)), self.num_rows - 1)

    def _statistic(self, null: float) -> float:
        distance = self.wins - self.losses - self.num_rows * null
        if distance == 0:
            return 0.0
        # The most likely share of losses where the difference is `null`: root of a quadratic equation.
        a = 2.0 * self.num_rows
        b = -self.wins - self.losses + (2 * self.num_rows - self.wins + self.losses) * null
        c = -self.losses * null * (1 - null)
        share = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
        variance = self.num_rows * (2 * share + null * (1 - null))
        return distance / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, distance)


@dataclass(frozen=True, slots=True)
class MidP:
    """The mid-p McNemar test: the share of wins among flips, the rate of flips taken as seen.

    Source: Fagerland, Lydersen and Laake (2013), The McNemar test for binary matched-pairs data: mid-p and
    asymptotic are better than exact conditional, BMC Medical Research Methodology 13:91.
    """

    wins: int
    losses: int
    num_rows: int

    def interval(self, level: float) -> Interval:
        """All differences whose share of wins has a mid-p of 1 - `level` or more."""
        tail = 0.5 - level / 2
        mean = (self.wins - self.losses) / self.num_rows
        rate = (self.wins + self.losses) / self.num_rows
        low = _edge(lambda value: tail - self._tail(value, 1), mean, -rate)
        high = _edge(lambda value: tail - self._tail(value, -1), mean, rate)
        return Interval(low, high, level)

    def p_value(self, null: float) -> float:
        """Twice the mid-p of the side that `null` lies on."""
        mean = (self.wins - self.losses) / self.num_rows
        if null == mean:
            return 1.0
        return min(1.0, 2 * self._tail(null, 1 if null < mean else -1))

    def _tail(self, null: float, sign: int) -> float:
        """Mid-p of as many wins (or, where `sign` is -1, losses) as seen, or more."""
        flips = self.wins + self.losses
        count = self.wins if sign > 0 else self.losses
        share = (sign * null * self.num_rows / flips + 1) / 2
        if not -_EXACT <= share <= 1 + _EXACT:
            return float(share > 1)
        share = min(max(share, 0.0), 1.0)
        above = float(special.betainc(count + 1, flips - count, share)) if count < flips else 0.0
        from_here = float(special.betainc(count, flips - count + 1, share)) if count else 1.0
        return (above + from_here) / 2


@dataclass(frozen=True, slots=True)
class Hull:
    """What no part leaves out, within the range of the mean."""

    parts: Sequence[Pivot]
    low: float = -math.inf
    high: float = math.inf

    def interval(self, level: float) -> Interval:
        """From the lowest to the highest end of the parts."""
        found = [part.interval(level) for part in self.parts]
        low, high = min(one.low for one in found), max(one.high for one in found)
        return Interval(max(self.low, low), min(self.high, high), level)

    def p_value(self, null: float) -> float:
        """The largest of the parts; 0 outside of the range."""
        if not self.low <= null <= self.high:
            return 0.0
        return max(part.p_value(null) for part in self.parts)


def equivalence_p(pivot: Pivot, mean: float, margin: float) -> float:
    """The p of two one-sided tests (TOST) that the mean lies inside of plus and minus `margin`.

    It is below alpha exactly if the interval of level 1 - 2 alpha lies inside the margin.

    Source: Schuirmann (1987), Journal of Pharmacokinetics and Biopharmaceutics 15:657-680.
    """
    if not -margin < mean < margin:
        return 1.0
    return max(pivot.p_value(-margin), pivot.p_value(margin)) / 2


def t_quantile(level: float, freedom: float) -> float:
    """The quantile of Student's t that an interval of `level` reaches to."""
    return float(special.stdtrit(freedom, 0.5 + level / 2))


def t_p_value(statistic: float, freedom: float) -> float:
    """The two-sided p of a Student's t of at least 0."""
    return 2 * float(special.stdtr(freedom, -statistic))


def _share_up_to(resamples: Scores, value: float) -> float:
    """The largest share whose quantile, as `np.quantile` interpolates it, is not above `value`."""
    count = int(np.searchsorted(resamples, value, side="right"))
    if count in (0, len(resamples)):
        return float(count > 0)
    before, after = float(resamples[count - 1]), float(resamples[count])
    return (count - 1 + (value - before) / (after - before)) / (len(resamples) - 1)


def _edge(excess: Callable[[float], float], start: float, end: float) -> float:
    """Where `excess` turns positive, going from `start` to `end`; `end` if it never does."""
    if excess(end) <= 0:
        return end
    return float(optimize.brentq(lambda value: min(excess(value), _STEEP), start, end, xtol=_EXACT))
