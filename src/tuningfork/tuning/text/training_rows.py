"""The rows that a search may see: training rows, and nothing else."""

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tuningfork.data.example import Example
from tuningfork.data.hashing import hash_example, input_digest

Vectors = NDArray[np.float64]

MOST_SCORED_ROWS = 100
"""More rows are not scored in a search: halving decides long before."""
MOST_ROWS = 500
"""Demonstrations are drawn from this many rows at most, so that a data set on disk stays there."""


class TrainingRows:
    """Training rows by number, in the order that candidates are scored on them.

    `scored` takes one row of each answer in turn, in an order drawn by `seed`, so that the first few rows say
    something about all answers. A candidate is not scored on a row that it shows, nor on one with the same
    input.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        *,
        seed: int,
        vectorize: Callable[[Sequence[Example]], Vectors],
        may_show: Callable[[Example], bool] = lambda _: True,
        most_scored: int = MOST_SCORED_ROWS,
    ) -> None:
        """Take `examples`; `vectorize` gives a vector (F) for each input, when first asked."""
        self.examples = list(examples)
        self._vectorize = vectorize
        self.scored: tuple[int, ...] = tuple(_spread(self.examples, seed)[:most_scored])
        self.shown: tuple[int, ...] = tuple(i for i, row in enumerate(self.examples) if may_show(row))
        """Those that may be demonstrations."""
        self._inputs = [input_digest(example) for example in self.examples]

    def __len__(self) -> int:
        return len(self.examples)

    @cached_property
    def vectors(self) -> Vectors:
        """A vector (N, F) of length 1 for each row, or 0 where it has none."""
        found = np.asarray(self._vectorize(self.examples), dtype=np.float64)
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        return found / np.where(lengths > 0, lengths, 1.0)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """SHA-256 of each row."""
        return tuple(hash_example(example) for example in self.examples)

    def target(self, row: int) -> str:
        """The first answer of a row."""
        return self.examples[row].targets[0]

    def text(self, row: int) -> str:
        """The input of a row as one text."""
        example = self.examples[row]
        turns = [f"{message.role}: {message.content}" for message in example.messages]
        return "\n".join([*example.inputs.values(), *turns])

    def unseen(self, shown: Sequence[int], rows: Sequence[int]) -> list[int]:
        """Those of `rows` that have another input than all that are `shown`."""
        inputs = {self._inputs[row] for row in shown}
        return [row for row in rows if self._inputs[row] not in inputs]


def _spread(examples: Sequence[Example], seed: int) -> list[int]:
    """All numbers in a seeded order that takes one of each answer in turn."""
    shuffled = list(range(len(examples)))
    random.Random(f"rows {seed}").shuffle(shuffled)
    by_target: dict[str, list[int]] = defaultdict(list)
    for row in shuffled:
        by_target[examples[row].targets[0]].append(row)
    depth = max(map(len, by_target.values()), default=0)
    return [group[place] for place in range(depth) for group in by_target.values() if place < len(group)]
