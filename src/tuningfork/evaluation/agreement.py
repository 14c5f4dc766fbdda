"""Whether a judge may stand in for people: its agreement with their labels, beyond chance."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Weights = Literal["linear", "quadratic"]
Label = int | str

_RESAMPLES = 1000
_SUBSTANTIAL = 0.6
_MODERATE = 0.4


@dataclass(frozen=True, slots=True)
class Agreement:
    """Cohen's kappa of two raters on the same n rows: 0 is chance, 1 is full agreement."""

    n: int
    share_equal: float
    kappa: float | None
    """None where both gave one and the same label throughout, which says nothing."""
    low: float | None
    high: float | None
    """Ends of the bootstrap interval over rows."""
    level: float

    @property
    def sentence(self) -> str:
        """What that says about trusting the judge."""
        equal = f"the judge and people agree on {100 * self.share_equal:.0f} % of {self.n} rows"
        if self.kappa is None or self.low is None or self.high is None:
            return f"Cannot tell whether to trust the judge: {equal}, but all labels are the same."
        evidence = (
            f"{equal}, kappa {self.kappa:.2f} ({100 * self.level:.0f} % interval "
            f"{self.low:.2f} to {self.high:.2f})"
        )
        if self.low >= _SUBSTANTIAL:
            return f"The judge may stand in for people here: {evidence}."
        if self.high < _MODERATE:
            return f"Do not trust the judge here: {evidence}."
        return f"Not enough agreement, or too few rows, to trust the judge alone: {evidence}."


def agreement(
    judged: Sequence[Label],
    human: Sequence[Label],
    *,
    weights: Weights | None = None,
    level: float = 0.95,
    rng: np.random.Generator,
) -> Agreement:
    """Hold a judge's labels against those of people for the same rows.

    `weights` says how disagreement grows with the distance on a scale; None counts every one alike. The
    interval is the percentile bootstrap over rows. That kappas above 0.6 are "substantial" and above 0.4
    "moderate" is the convention of Landis and Koch (1977), The measurement of observer agreement for
    categorical data, Biometrics 33.

    Raises:
        ValueError: There are no rows, or not as many of both, or a scale is asked of labels that are text.
    """
    if len(judged) != len(human) or not judged:
        raise ValueError(f"agreement needs the same rows, found {len(judged)} and {len(human)} labels")
    if weights is not None and any(isinstance(label, str) for label in (*judged, *human)):
        raise ValueError("weights need a scale of numbers, found labels of text")
    labels: list[Label] = list(dict.fromkeys([*judged, *human]))
    places = {label: place for place, label in enumerate(labels)}
    rows = np.array([[places[label] for label in side] for side in (judged, human)])
    distances = _distances(labels, weights)
    drawn = rng.integers(rows.shape[1], size=(_RESAMPLES, rows.shape[1]))
    kappa = float(_kappas(rows[:, None], distances)[0])
    kappas = _kappas(rows[:, drawn], distances)
    defined = kappas[np.isfinite(kappas)]
    share_equal = float((rows[0] == rows[1]).mean())
    if not np.isfinite(kappa) or not len(defined):
        return Agreement(len(judged), share_equal, None, None, None, level)
    low, high = np.quantile(defined, (0.5 - level / 2, 0.5 + level / 2)).tolist()
    return Agreement(len(judged), share_equal, kappa, low, high, level)


def _distances(labels: Sequence[Label], weights: Weights | None) -> NDArray[np.float64]:
    """How far apart labels are (C, C)."""
    if weights is None:
        return 1.0 - np.eye(len(labels))
    values = np.array(labels, dtype=np.float64)
    steps = np.abs(values[:, None] - values[None, :])
    return steps if weights == "linear" else steps**2


def _kappas(rows: NDArray[np.int64], distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """One kappa for each resample of places (2, R, N): 1 - distance / distance by chance; NaN for 0 / 0.

    The same as scikit-learn's `cohen_kappa_score`, for all resamples at once.
    """
    one, other = rows
    # How often each label was given (R, C).
    shares = [np.stack([(side == c).mean(axis=1) for c in range(len(distances))], axis=1) for side in rows]
    expected = np.einsum("rc,cd,rd->r", shares[0], distances, shares[1])
    observed = distances[one, other].mean(axis=1)
    with np.errstate(invalid="ignore"):
        kappas: NDArray[np.float64] = 1.0 - observed / expected
    return kappas
