"""P-values of several comparisons, adjusted for there being several."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjust p-values so that calling those below alpha real errs anywhere with a chance of at most alpha.

    The smallest of m is multiplied by m, the next by m - 1, and so on, none falling below one before it. It
    holds whatever the comparisons share, such as their test rows.

    Source: Holm (1979), A simple sequentially rejective multiple test procedure, Scandinavian Journal of
    Statistics 6:65-70.

    Raises:
        ValueError: If one is not in 0..1, or they are not a list.
    """
    given = _as_p_values(p_values)
    order = np.argsort(given, kind="stable")
    raised = np.maximum.accumulate(given[order] * holm_factors(len(given)))
    adjusted = np.empty_like(given)
    adjusted[order] = np.minimum(raised, 1.0)
    return adjusted


def holm_factors(count: int) -> NDArray[np.int64]:
    """What Holm multiplies p-values with, from the smallest to the largest."""
    return np.arange(count, 0, -1)


def benjamini_hochberg(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjust p-values so that of those below alpha a share of at most alpha is false, on average.

    For many comparisons that are looked at one by one, such as words or groups of people; a verdict needs
    `holm`.

    Source: Benjamini and Hochberg (1995), Controlling the false discovery rate, Journal of the Royal
    Statistical Society B 57:289-300.

    Raises:
        ValueError: If one is not in 0..1, or they are not a list.
    """
    given = _as_p_values(p_values)
    return np.asarray(stats.false_discovery_control(given, method="bh")) if len(given) else given


def _as_p_values(values: ArrayLike) -> NDArray[np.float64]:
    given = np.asarray(values, dtype=np.float64)
    if given.ndim != 1:
        raise ValueError(f"p-values must be a list, found shape {given.shape}")
    outside = np.flatnonzero(~((given >= 0) & (given <= 1)))
    if len(outside):
        raise ValueError(f"p-value {outside[0]} is {given[outside[0]]}, not a number from 0 to 1")
    return given
