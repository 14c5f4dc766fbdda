"""The bootstrap of a mean over rows, and over rows and seeds."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from scipy import special

from tuningfork.evaluation.pivots import Resampled, Scores
from tuningfork.evaluation.sample_size import NEGLIGIBLE

MOST_ROWS_TO_RESAMPLE = 2000
"""Above this, Student's interval alone is used: both agree there, and each resample costs as much as rows."""

_RESAMPLES = 4999
_SCORES_PER_BATCH = 2**19


def resampled_rows(values: Scores, rng: np.random.Generator) -> Resampled:
    """The BCa bootstrap of the mean of values (N,)."""
    n = len(values)
    drawn = [values[rng.integers(0, n, (size, n), dtype=np.uint16)].mean(axis=1) for size in _batches(n)]
    centred = values - values.mean()
    acceleration = float((centred**3).sum() / (6 * np.square(centred).sum() ** 1.5))
    return _bca(float(values.mean()), np.concatenate(drawn), acceleration, math.sqrt(n / (n - 1)), n - 1)


def resampled_rows_and_seeds(
    sides: Sequence[Scores], *, variance: float, freedom: float, skewness: float, rng: np.random.Generator
) -> Resampled:
    """The two-level bootstrap of a difference of means of scores (R, N) each, or of one mean.

    Every resample draws rows, the same of both sides, then seeds of each side by itself. So few seeds vary
    less among each other than trainings do, and what a seed does to single rows is counted more than once:
    quantiles are stretched to `variance`, that of the mean. `skewness` is the mean's.
    """
    n = sides[0].shape[1]
    drawn = []
    for size in _batches(n):
        places = rng.integers(0, n, (size, n)) + n * np.arange(size)[:, np.newaxis]
        shares = np.bincount(places.ravel(), minlength=size * n).reshape(size, n) / n
        means = [_of_drawn_seeds(shares @ side.T, rng) for side in sides]
        drawn.append(means[0] - means[1] if len(means) > 1 else means[0])
    resamples = np.concatenate(drawn)
    mean = float(sides[0].mean()) - sum(float(side.mean()) for side in sides[1:])
    return _bca(mean, resamples, skewness / 6, math.sqrt(variance) / float(resamples.std()), freedom)


def _of_drawn_seeds(means: Scores, rng: np.random.Generator) -> Scores:
    """The mean (B,) over seeds drawn from those of each resample (B, R)."""
    count = means.shape[1]
    if count == 1:
        return means[:, 0]
    drawn: Scores = np.take_along_axis(means, rng.integers(0, count, means.shape), axis=1)
    return np.asarray(drawn.mean(axis=1))


def _batches(num_rows: int) -> Iterator[int]:
    size = max(1, _SCORES_PER_BATCH // num_rows)
    for done in range(0, _RESAMPLES, size):
        yield min(size, _RESAMPLES - done)


def _bca(mean: float, resamples: Scores, acceleration: float, stretch: float, freedom: float) -> Resampled:
    # Summing in another order moves resamples that equal the mean off it.
    near = NEGLIGIBLE * max(1.0, float(np.abs(resamples).max()))
    below, up_to = ((resamples < mean + shift).mean() for shift in (-near, near))
    share = np.clip((below + up_to) / 2, 0.5 / len(resamples), 1 - 0.5 / len(resamples))
    return Resampled(mean, np.sort(resamples), float(special.ndtri(share)), acceleration, stretch, freedom)
