"""The order of contestants: the same in verdicts, tables and reports."""

import math
from collections.abc import Iterable, Mapping

from tuningfork.evaluation.comparison import ContestantRecord


def best_first(
    contestants: Iterable[ContestantRecord], means: Mapping[str, float], *, higher_is_better: bool
) -> list[ContestantRecord]:
    """Return `contestants` by their mean scores; of equal ones that with fewer bytes first, then as given.

    Times would be another order whenever they are measured.
    """

    def key(one: ContestantRecord) -> tuple[float, float]:
        # Sums in another order differ in their last bits.
        mean = round(means[one.name], 12)
        return -mean if higher_is_better else mean, math.inf if one.cost is None else one.cost.stored_bytes

    return sorted(contestants, key=key)
