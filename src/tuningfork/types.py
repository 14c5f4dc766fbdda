"""Shape letters and the small value types that several layers share.

Letters in shapes: `B` rows, `T` tokens, `P` virtual tokens, `H` hidden size, `L` layers, `V` vocabulary,
`K` prompts, `N` positions, `D` size of one attention head, `A` key-value heads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

TokenIds = Sequence[int]
"""Tokens of the vocabulary; in a prompt's rows, -1 - j is a place that its virtual token j fills."""

Combine = Literal["vote", "mean"]
"""How prompts answer together: by vote, or by the mean of the labels' probabilities."""

Composition = Literal["concatenate", "average", "ensemble"]
"""What is made of finished prompts: one behind the other, their mean, or several that answer together."""


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One row to learn from: the tokens after the shared prefix and which of them count in the loss.

    `ids` holds the input, every header and the answer (with its end token). `label_positions` holds the
    indices into `ids` whose tokens the model must predict, rising, each at least 1: the token at index t is
    predicted from index t - 1, and index 0 is always context. In classification `choice` is the index of the
    right label, and the last run of label positions spells it.

    Where words are tagged, no token is predicted: `word_positions` holds, for each word, the index into `ids`
    at which its tag is read, and `tags` the index of its right tag.
    """

    ids: tuple[int, ...]
    label_positions: tuple[int, ...]
    choice: int | None = None
    word_positions: tuple[int, ...] = ()
    tags: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(self.word_positions) != len(self.tags):
            raise ValueError(f"{len(self.word_positions)} words need a tag each, found {len(self.tags)}")
        if self.word_positions:
            if self.label_positions:
                raise ValueError("a training row has label positions or words to tag, found both")
            if min(self.word_positions) < 0 or max(self.word_positions) >= len(self.ids):
                raise ValueError(
                    f"words to tag must lie in 0..{len(self.ids) - 1}, found {self.word_positions}"
                )
            return
        if not self.label_positions:
            raise ValueError("a training row needs at least one label position")
        if self.label_positions[0] < 1 or self.label_positions[-1] >= len(self.ids):
            raise ValueError(
                f"label positions must lie in 1..{len(self.ids) - 1}, found {self.label_positions}"
            )
