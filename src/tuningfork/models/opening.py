"""Rows on their way through the network."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor
from transformers import DynamicCache

from tuningfork.models.late import EmptySlots
from tuningfork.models.prefix import KeyValues, align_right, cache_layers
from tuningfork.types import TokenIds


@dataclass(frozen=True, slots=True, eq=False)
class Opening:
    """Rows ready to be run, up to where choices or new tokens follow them.

    Usually that is whole rows behind a shared prefix. Where the prompt depends on the row, the words of each
    row were read before, and only what follows them is left.
    """

    embeddings: Tensor
    """What is to be run, (B, T, H), padded on the right."""
    lengths: Tensor
    """How much of it is real, (B,)."""
    cache: DynamicCache
    """What it follows."""
    padding: Tensor | None = None
    """Slots of the cache, in front, that hold nothing, (B,); None if all hold something."""
    states: Tensor | None = None
    """Hidden states (B, W, H) of the words that were read before."""
    num_read: tuple[int, ...] = ()
    """How many these are in each row."""
    empty: EmptySlots | None = None
    """Slots of the prefix that some layers leave out."""
    num_past: int = field(init=False)
    """Slots of the cache before the rows are run."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "num_past", self.cache.get_seq_length())

    def steps(self, row: int, positions: Sequence[int]) -> list[int]:
        """Where `positions` of `row` stand in the hidden states, those of its words behind all others."""
        read = self.num_read[row] if self.num_read else 0
        behind = self.embeddings.shape[1]
        return [place - read if place >= read else behind + place for place in positions]

    def aligned(self) -> tuple[Sequence[KeyValues | None], Tensor]:
        """The cache after the rows were run, all padding in front, and how many tokens it holds of each."""
        past = self.lengths + self.num_past
        layers = align_right(cache_layers(self.cache), past)
        return layers, past if self.padding is None else past - self.padding


def leading_words(row: TokenIds) -> TokenIds:
    """What stands in `row` before its first place for a virtual token; all of it, if there is none."""
    return row[: next((index for index, token in enumerate(row) if token < 0), len(row))]
