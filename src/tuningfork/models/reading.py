"""Rows that are continued token by token, each behind a prompt of its own, and join and leave meanwhile.

A row is read first, by itself and in pieces, if that is wanted; then it joins the others, and each step runs
one token of every row. What a step gives for a row equals what one unpadded row gives.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from tuningfork.models.prefix import PrefixState
from tuningfork.types import TokenIds


@dataclass(slots=True, eq=False)
class Reading:
    """A row behind its prompt, on the way into a batch."""

    prefix: PrefixState
    ids: TokenIds
    num_read: int = 0
    """How many of `ids` were read."""

    @property
    def is_read(self) -> bool:
        """Whether nothing is left to read."""
        return self.num_read == len(self.ids)


class RunningRows(Protocol):
    """Rows of one model that are continued token by token."""

    bytes_per_token: int
    """Memory that a token of a row takes while it runs; every row is held as long as the longest."""
    scores_rows: bool
    """Whether `read` can give logits after each token of a row, not after the last alone."""

    @property
    def num_rows(self) -> int:
        """B."""

    def begin(self, prefix: PrefixState, ids: TokenIds) -> Reading:
        """A row behind `prefix`, nothing of it read yet.

        Raises:
            PromptError: if the prompt says no words, or there is nothing to continue from.
        """

    def logits_before(self, reading: Reading) -> Tensor | None:
        """Next-token logits (V) after the prompt alone; None if there is none, or it has no logits."""

    def read(self, reading: Reading, most_tokens: int, *, wants_all: bool = False) -> Tensor:
        """Read on by `most_tokens`, or more where the prompt or the model must see the row at once.

        Returns next-token logits (1, V) after the last token that was read, or (n, V) after each of them.
        """

    def read_together(self, readings: Sequence[Reading]) -> Tensor:
        """Read rows of which nothing was read yet; next-token logits (B, V) after the last token of each."""

    def join(self, reading: Reading) -> None:
        """Add a row that was read, behind those that are there."""

    def step(self, tokens: Sequence[int]) -> Tensor:
        """Next-token logits (B, V) after one more token of each row."""

    def leave(self, places: Collection[int]) -> None:
        """Drop the rows at `places`; the others keep their order."""

    def clear(self) -> None:
        """Drop all rows, whatever went wrong with them before."""
