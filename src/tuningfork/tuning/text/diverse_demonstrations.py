"""Demonstrations that together stand for all rows."""

from typing import ClassVar

import numpy as np

from tuningfork.tuning.text.demonstration_sets import race_sets
from tuningfork.tuning.text.training_rows import Vectors
from tuningfork.tuning.text.trials import Trials

_SHARE = 0.5


class DiverseDemonstrations:
    """Sets of rows such that every row is like one of them.

    Su et al. 2023, "Selective Annotation Makes Language Models Better Few-Shot Learners",
    https://arxiv.org/abs/2209.01975, section 2, choose rows to annotate by votes of their neighbours
    (vote-k), each vote discounted where a chosen row is near. Ours maximises the sum over rows of the
    likeness to the nearest chosen row, greedily (facility location, which greedy choice solves to 63 %), each
    time from another random half of the rows, and a race decides. The row that stands for most stands last.
    """

    name: ClassVar[str] = "diverse_demonstrations"
    needs_proposer: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ()

    def search(self, trials: Trials) -> None:
        """Race sets that cover the rows; the first of each size is drawn from all of them."""
        is_first = dict.fromkeys(range(trials.most_demonstrations + 1), True)

        def draw(size: int) -> list[int]:
            shown, share = trials.rows.shown, 1.0 if is_first[size] else _SHARE
            is_first[size] = False
            some = trials.generator.sample(shown, max(size, round(share * len(shown))))
            return covering(trials.rows.vectors, sorted(some), size)

        race_sets(trials, draw)


def covering(vectors: Vectors, among: list[int], size: int) -> list[int]:
    """`size` rows `among` those that cover all rows of `vectors` (N, F) best, the first chosen last."""
    likeness = vectors @ vectors[among].T
    covered = np.full(len(vectors), -1.0)
    chosen: list[int] = []
    for _ in range(size):
        worth = np.maximum(likeness, covered[:, None]).sum(axis=0)
        worth[chosen] = -np.inf
        best = int(worth.argmax())
        chosen.append(best)
        covered = np.maximum(covered, likeness[:, best])
    return [among[place] for place in reversed(chosen)]
