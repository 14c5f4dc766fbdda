"""How many rows, or seeds, would make a difference decidable."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from tuningfork.evaluation.pivots import Scores

POWER = 0.8
MOST_ROWS_WORTH_NAMING = 1_000_000
NEGLIGIBLE = 1e-12
"""Relative size of what is taken for a rounding error."""

_MOST_ROWS = 2**40
_MOST_SEEDS = 100


@dataclass(frozen=True, slots=True)
class SeedSpread:
    """What seeds add to the variance of a difference, whatever the number of rows."""

    variance: float
    freedom: float
    """Degrees of freedom that it is known with."""
    num_seeds: int
    """Of the side with the most."""


@dataclass(frozen=True, slots=True)
class _Effect:
    """A difference to be shown, and what stands in its way."""

    size: float
    mean_square: float
    variance: float
    alpha: float
    shows_equivalence: bool

    def is_decided(self, num_rows: int, seed_variance: float, freedom: float) -> bool:
        """Whether that many rows and this much seed variance decide it with 80 % power."""
        rows = self.variance / num_rows + seed_variance
        under_null = self.mean_square / num_rows + seed_variance
        degrees = freedom * (rows / seed_variance) ** 2
        null, one_sided = (float(special.stdtrit(degrees, 1 - a)) for a in (self.alpha / 2, self.alpha))
        power, both_sides = stats.norm.ppf([POWER, (1 + POWER) / 2])
        needed = null * math.sqrt(under_null) + power * math.sqrt(rows)
        if self.shows_equivalence:
            needed = max(needed, (one_sided + both_sides) * math.sqrt(rows))
        return bool(needed <= self.size)


def needed_rows(differences: Scores, level: float, margin: float | None, reach: float) -> int | None:
    """Return the rows needed to show a difference of the observed size or, if larger, the margin.

    With a margin that is not exceeded, the rows must also suffice to show equivalence of equal prompts. The
    difference counts as tested by a McNemar-like statistic, whose spread under the null is the root mean
    square. `reach` is the largest difference there can be. None if no number of rows would do.
    """
    observed = abs(float(differences.mean()))
    size = max(observed, margin or 0.0)
    if size <= NEGLIGIBLE * reach:
        return None
    alpha = 1 - level
    if are_equal(differences):
        # Inverts the interval that equal differences get: it must exclude zero, or lie inside the margin.
        if observed == size:
            return math.ceil(math.log(alpha / 2) / math.log1p(-size / (observed + reach)))
        share = (size - observed) / (reach - observed) if size < reach else 1.0
        return math.ceil(math.log(alpha) / math.log1p(-share)) if share < 1 else 1
    mean_square = float(np.square(differences).mean())
    spread = math.sqrt(max(mean_square - size**2, 0.0))
    null_quantile, power_quantile = stats.norm.ppf([1 - alpha / 2, POWER])
    needed = ((null_quantile * math.sqrt(mean_square) + power_quantile * spread) / size) ** 2
    if observed < size:
        one_sided, both_sides = stats.norm.ppf([1 - alpha, (1 + POWER) / 2])
        needed = max(needed, float(differences.var()) * ((one_sided + both_sides) / size) ** 2)
    return math.ceil(float(needed))


def needed_rows_or_seeds(
    differences: Scores, level: float, margin: float | None, reach: float, seeds: SeedSpread
) -> tuple[int | None, int | None]:
    """The rows needed with as many seeds as there are, and the seeds needed with as many rows.

    `differences` are means over seeds. What seeds add does not shrink with rows, so there may be no number
    of rows that would do; then more seeds are what helps, or neither does by itself.
    """
    rows_alone = needed_rows(differences, level, margin, reach)
    if seeds.variance <= 0 or rows_alone is None:
        return rows_alone, None
    observed = abs(float(differences.mean()))
    size = max(observed, margin or 0.0)
    mean_square = float(np.square(differences).mean())
    variance = max(mean_square - size**2, float(differences.var()) if observed < size else 0.0)
    effect = _Effect(size, mean_square, variance, 1 - level, observed < size)

    def with_seeds(number: int) -> bool:
        times = number / seeds.num_seeds
        freedom = seeds.freedom * (number - 1) / (seeds.num_seeds - 1)
        return effect.is_decided(len(differences), seeds.variance / times, freedom)

    rows = _first_true(lambda n: effect.is_decided(n, seeds.variance, seeds.freedom), _MOST_ROWS)
    number = _first_true(lambda more: with_seeds(seeds.num_seeds + more), _MOST_SEEDS)
    return rows, None if number is None else seeds.num_seeds + number


def are_equal(values: Scores) -> bool:
    """Whether values differ by no more than rounding, which says nothing of their spread."""
    return float(np.ptp(values)) <= NEGLIGIBLE * max(1.0, float(np.abs(values).max()))


def rounded_up(rows: int) -> int:
    """To two digits: an estimate is not known better."""
    scale: int = 10 ** max(0, len(str(rows)) - 2)
    return math.ceil(rows / scale) * scale


def _first_true(holds: Callable[[int], bool], most: int) -> int | None:
    """The smallest number from 1 to `most` that holds, if all above it do too."""
    if not holds(most):
        return None
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
