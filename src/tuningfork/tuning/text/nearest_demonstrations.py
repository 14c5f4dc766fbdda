"""Demonstrations nearest to what is asked."""

from typing import ClassVar

import numpy as np

from tuningfork.tuning.text.demonstration_sets import race_sets
from tuningfork.tuning.text.trials import Trials

_SHARE = 0.5


class NearestDemonstrations:
    """The training rows nearest to the middle of many others.

    Liu et al. 2022, "What Makes Good In-Context Examples for GPT-3?", https://arxiv.org/abs/2101.06804,
    section 3 (KATE), shows each row its own nearest neighbours. That would need another prompt for each row,
    and none could be shared or kept as a text. Ours chooses one set for all: the rows nearest to the mean
    vector of a random half of the rows, one of each answer in turn, the nearest last. Other halves give other
    sets, and a race decides. Vectors are the model's own features, or TF-IDF.
    """

    name: ClassVar[str] = "nearest_demonstrations"
    needs_proposer: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ()

    def search(self, trials: Trials) -> None:
        """Race sets around the middles of random halves; the first is around that of all rows."""
        is_first = dict.fromkeys(range(trials.most_demonstrations + 1), True)

        def draw(size: int) -> list[int]:
            rows, share = range(len(trials.rows)), 1.0 if is_first[size] else _SHARE
            is_first[size] = False
            some = trials.generator.sample(rows, max(1, round(share * len(rows))))
            return nearest(trials, some, size)

        race_sets(trials, draw)


def nearest(trials: Trials, rows: list[int], size: int) -> list[int]:
    """The `size` rows nearest to the middle of `rows`, one of each answer in turn, the nearest last."""
    middle = trials.rows.vectors[sorted(rows)].mean(axis=0)
    shown = np.array(trials.rows.shown)
    order = [int(row) for row in shown[np.argsort(-(trials.rows.vectors[shown] @ middle), kind="stable")]]
    turn: dict[str, int] = {}
    rank = {}
    for place, row in enumerate(order):
        answer = trials.rows.target(row)
        turn[answer] = turn.get(answer, -1) + 1
        rank[row] = turn[answer], place
    chosen = sorted(order, key=rank.__getitem__)[:size]
    return sorted(chosen, key=lambda row: rank[row][1], reverse=True)
