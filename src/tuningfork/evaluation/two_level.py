"""Scores of several trainings (or repeats) on the same rows: what they say of a prompt, and of a method.

Rows vary, and so do trainings. An interval that covers "artefact" speaks for the trainings that were
measured, on other rows; one that covers "method" speaks for other trainings too, and is never narrower.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tuningfork.evaluation.comparison import Covers
from tuningfork.evaluation.pivots import Hull, Interval, Pivot, Scores, Student, equivalence_p
from tuningfork.evaluation.resampling import MOST_ROWS_TO_RESAMPLE, resampled_rows_and_seeds
from tuningfork.evaluation.sample_size import NEGLIGIBLE, SeedSpread, needed_rows_or_seeds
from tuningfork.evaluation.statistics import (
    Verdict,
    are_pass_fail,
    decide,
    difference_pivot,
    largest_difference,
    mean_interval,
)


@dataclass(frozen=True, slots=True)
class SeedsMean:
    """A mean score over rows and seeds."""

    mean: float
    interval: Interval
    covers: Covers


@dataclass(frozen=True, slots=True)
class SeedsDifference:
    """What rows and seeds say about a candidate against a baseline on the same rows.

    `differences` (N,) are candidate minus baseline, means over seeds. `seeds` is what trainings add, None
    where each side was measured once. `reach` is the largest difference there can be.
    """

    differences: Scores
    artefact: Pivot
    method: Pivot
    seeds: SeedSpread | None
    reach: float

    @property
    def mean(self) -> float:
        """Candidate minus baseline."""
        return float(self.differences.mean())

    @property
    def covers(self) -> Covers:
        """What the interval speaks for."""
        return "artefact" if self.seeds is None else "method"

    @property
    def p(self) -> float:
        """Of no difference: below 1 - level exactly where the interval of that level excludes zero."""
        return self.method.p_value(0.0)

    def interval(self, level: float) -> Interval:
        """Over rows, and over seeds where one side has several."""
        return self.method.interval(level)

    def artefact_interval(self, level: float) -> Interval:
        """Over rows alone: of the trainings that were measured."""
        return self.artefact.interval(level)

    def equivalence_p(self, margin: float) -> float:
        """Of the two one-sided tests that the difference is smaller than `margin`."""
        return equivalence_p(self.method, self.mean, margin)

    def verdict(self, *, margin: float | None, level: float, higher_is_better: bool = True) -> Verdict:
        """As of `paired_difference`: equivalent within the margin comes before better or worse."""
        narrower = self.interval(2 * level - 1)
        return decide(self.interval(level), narrower, margin, higher_is_better)

    def needed(self, *, margin: float | None, level: float) -> tuple[int | None, int | None]:
        """The test rows, and the seeds, that would decide it with 80 % power, each with as many of the other.

        None where no number would: of rows, where trainings vary too much; of seeds, where rows are too few.
        """
        spread = self.seeds or SeedSpread(0.0, 1.0, 1)
        return needed_rows_or_seeds(self.differences, level, margin, self.reach, spread)


def seeds_mean(
    scores: ArrayLike,
    *,
    level: float = 0.95,
    bounds: tuple[float, float] | None = None,
    rng: np.random.Generator,
) -> SeedsMean:
    """The mean of scores (R, N) of R trainings on N rows, with an interval over both.

    Raises:
        ValueError: As of `mean_interval`, or if the scores are no matrix.
    """
    given = _as_matrix(scores)
    rows = given.mean(axis=0)
    interval = mean_interval(rows, level=level, bounds=bounds, rng=rng)
    several = len(given) > 1
    method = _over_seeds([given], rows, rng) if several else None
    if method is not None:
        low, high = bounds if bounds is not None else (-np.inf, np.inf)
        wider = Hull([method[0]], low, high).interval(level)
        interval = Interval(min(interval.low, wider.low), max(interval.high, wider.high), level)
    return SeedsMean(float(rows.mean()), interval, "method" if several else "artefact")


def seeds_difference(
    candidate: ArrayLike,
    baseline: ArrayLike,
    *,
    bounds: tuple[float, float] | None = None,
    rng: np.random.Generator,
) -> SeedsDifference:
    """Compare scores (R, N) of the trainings of two ways on the same N rows; each may have its own R.

    With one training of each it is `paired_difference`. Otherwise rows and seeds vary, seeds of each side by
    themselves, and the variance of the difference is that of the seeds' means and what rows add to it:
    Satterthwaite's combination of mean squares, each with its own degrees of freedom, so that few seeds
    widen the interval as Student's t does. The interval is the hull of Student's, of the two-level
    bootstrap stretched to the same variance and freedom, and of the artefact's.

    Sources: Hillis (2007), A comparison of denominator degrees of freedom methods for multiple observer
    ROC analysis, Statistics in Medicine 26:596-619, whose readers are our seeds and whose cases are our
    rows; Owen (2007), The pigeonhole bootstrap, https://arxiv.org/abs/0712.1111, on why resampling rows and
    seeds counts what they do together more than once. Ours lets each side have seeds of its own.

    Raises:
        ValueError: If the numbers of rows differ, there is no row or seed, or a score is not finite or
            outside `bounds`.
    """
    ours, theirs = _as_matrix(candidate), _as_matrix(baseline)
    if ours.shape[1] != theirs.shape[1]:
        raise ValueError(f"paired scores need the same rows, found {ours.shape[1]} and {theirs.shape[1]}")
    low, high = min(ours.min(), theirs.min()), max(ours.max(), theirs.max())
    if bounds is not None and (low < bounds[0] or high > bounds[1]):
        raise ValueError(f"scores must lie in {bounds[0]}..{bounds[1]}, found {low:g}..{high:g}")
    own, other = ours.mean(axis=0), theirs.mean(axis=0)
    # One row shows no range, however many seeds answered it.
    is_one_row = len(own) == 1
    reach = largest_difference(
        ours[0] if is_one_row else ours.ravel(), theirs[0] if is_one_row else theirs.ravel(), bounds
    )
    differences = own - other
    artefact = difference_pivot(differences, are_pass_fail(own, other), reach, rng)
    if len(ours) == len(theirs) == 1:
        return SeedsDifference(differences, artefact, artefact, None, reach)
    found = _over_seeds([ours, theirs], differences, rng)
    if found is None:
        seeds = SeedSpread(0.0, 1.0, max(len(ours), len(theirs)))
        return SeedsDifference(differences, artefact, artefact, seeds, reach)
    method = Hull([artefact, found[0]], -reach, reach)
    return SeedsDifference(differences, artefact, method, found[1], reach)


def _over_seeds(
    sides: Sequence[Scores], differences: Scores, rng: np.random.Generator
) -> tuple[Pivot, SeedSpread] | None:
    """What rows and seeds say together; None if seeds do not differ, or there is one row."""
    n = len(differences)
    several = [side for side in sides if len(side) > 1]
    if n == 1:
        return None
    means = [_SeedMeans.of(side) for side in several]
    total = sum(found.variance for found in means)
    if total <= NEGLIGIBLE**2 * max(1.0, float(np.abs(differences).max()) ** 2):
        return None
    of_rows = float(differences.var(ddof=1))
    rows = max(0.0, of_rows - sum(found.interaction for found in means)) / n
    variance = total + rows
    squares = sum(found.variance**2 / found.freedom for found in means)
    freedom = variance**2 / (squares + rows**2 / (n - 1))
    parts: list[Pivot] = [Student(float(differences.mean()), variance**0.5, freedom)]
    if n <= MOST_ROWS_TO_RESAMPLE:
        cubes = float(((differences - differences.mean()) ** 3).sum()) / n**3
        scale = (rows * n / of_rows) ** 1.5 if of_rows > 0 else 0.0
        parts.append(
            resampled_rows_and_seeds(
                sides, variance=variance, freedom=freedom, skewness=cubes * scale / variance**1.5, rng=rng
            )
        )
    lasting = sum(max(0.0, found.variance - found.interaction / n) for found in means)
    spread = SeedSpread(lasting, total**2 / squares, max(len(side) for side in several))
    return Hull(parts), spread


@dataclass(frozen=True, slots=True)
class _SeedMeans:
    """How the mean over the seeds of one side varies."""

    variance: float
    """Of the mean over seeds and rows, the rows being as they are."""
    interaction: float
    """What of it, times the rows, is due to single rows going another way with each seed."""
    freedom: int

    @classmethod
    def of(cls, side: Scores) -> "_SeedMeans":
        count, n = side.shape
        means = side.mean(axis=1, keepdims=True)
        rest = side - means - side.mean(axis=0) + side.mean()
        interaction = float(np.square(rest).sum()) / ((count - 1) * (n - 1))
        return cls(float(means.var(ddof=1)) / count, interaction / count, count - 1)


def _as_matrix(scores: ArrayLike) -> Scores:
    given = np.asarray(scores, dtype=np.float64)
    if given.ndim != 2 or 0 in given.shape:
        raise ValueError(f"scores must be a matrix of seeds by rows, found shape {given.shape}")
    if not np.isfinite(given).all():
        seed, row = np.argwhere(~np.isfinite(given))[0]
        raise ValueError(f"the score of seed {seed} on row {row} is {given[seed, row]}, not a finite number")
    return given
