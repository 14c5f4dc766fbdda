"""Racing: who is worth scoring on more rows.

Successive halving over rows: all candidates are scored on a few rows, the better half on twice as many, and
so on (Jamieson and Talwalkar 2016, "Non-stochastic Best Arm Identification and Hyperparameter Optimization",
https://arxiv.org/abs/1502.07943). Before that, whoever does significantly worse than the one to beat on the
same rows is dropped (racing: Maron and Moore 1994, "Hoeffding Races", NIPS 6). Ours tests differences row by
row with Student's t instead of bounding each mean by Hoeffding's inequality, which needs far more rows.
"""

import math
from collections.abc import Mapping, Sequence

from scipy import special

Values = Mapping[int, float]
"""Scores by row."""

FEWEST_ROWS = 8
REJECTING_P = 0.05


def rungs(num_rows: int) -> list[int]:
    """How many rows are scored before each cut: from at least 8 up to all, doubled each time."""
    sizes = [num_rows]
    while sizes[0] >= 2 * FEWEST_ROWS:
        sizes.insert(0, sizes[0] // 2)
    return sizes


def gain(ours: Values, theirs: Values) -> float:
    """Mean difference on the rows that both were scored on; the lowest of all where there is none."""
    common = ours.keys() & theirs.keys()
    if not common:
        return -math.inf
    return math.fsum(ours[row] - theirs[row] for row in common) / len(common)


def losing_p(ours: Values, theirs: Values) -> float:
    """The p of the one-sided paired test that `ours` is not worse than `theirs`.

    Where all differences are equal, it is that of the sign test.
    """
    differences = [ours[row] - theirs[row] for row in sorted(ours.keys() & theirs.keys())]
    count = len(differences)
    if count < 2:
        return 1.0
    mean = math.fsum(differences) / count
    spread = math.sqrt(math.fsum((each - mean) ** 2 for each in differences) / (count - 1))
    if spread <= 1e-12 * max(1.0, abs(mean)):
        return 0.5**count if mean < 0 else 1.0
    return float(special.stdtr(count - 1, mean / (spread / math.sqrt(count))))


def survivors(values: Sequence[Values], to_beat: Values) -> list[int]:
    """Places of the candidates to score on more rows: at most half, none that loses, in their order.

    Candidates are ranked by their `gain` over `to_beat`; of equal ones the earlier is kept. None may lose to
    `to_beat` or to the best of them.
    """
    gains = [gain(each, to_beat) for each in values]
    ranking = sorted(range(len(values)), key=lambda place: (-gains[place], place))
    best = values[ranking[0]]
    kept = [
        place
        for place in ranking[: math.ceil(len(values) / 2)]
        if losing_p(values[place], to_beat) >= REJECTING_P and losing_p(values[place], best) >= REJECTING_P
    ]
    return sorted(kept)
