"""Verbalizers: which words a label is spoken as, and what a model's scores of them mean."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from tuningfork.errors import TaskError
from tuningfork.types import TokenIds

LengthNormalization = Literal["none", "mean"]


@dataclass(frozen=True, slots=True)
class Verbalizer:
    """The labels of a task and the token ids that say each, end-of-turn token included.

    The score of a label is log P(all its tokens and the end token | input): the true probability of saying
    exactly this label and stopping. Labels that begin alike ("card", "card payment") share those factors,
    which cancel in a softmax over the labels, and the end token keeps a short label from collecting the
    probability of the longer ones. This is the default, `length_normalization="none"`. With "mean" the score
    is divided by the number of tokens: no longer a probability, at times better where labels differ much in
    length.

    "Verbalizer" is the word of Schick and Schütze 2021, "Exploiting Cloze Questions for Few Shot Text
    Classification and Natural Language Inference", https://arxiv.org/abs/2001.07676; theirs are one token.

    Raises:
        TaskError: Fewer than two labels, or the ids of one label begin with all the ids of another.
    """

    labels: tuple[str, ...]
    choice_ids: tuple[tuple[int, ...], ...]
    length_normalization: LengthNormalization = "none"
    fills_masks: bool = False
    """Whether a label has as many masks as tokens, and no end token: it may then begin with another."""

    def __post_init__(self) -> None:
        if len(self.labels) < 2 or len(self.labels) != len(self.choice_ids):
            raise TaskError(
                f"a verbalizer needs at least two labels with ids each, found {list(self.labels)}"
            )
        # In sorted order a sequence stands directly before those that begin with it.
        in_order = sorted(zip(self.choice_ids, self.labels, strict=True))
        for (shorter, first), (longer, second) in pairwise(in_order):
            if shorter == longer:
                raise TaskError(
                    f"labels {first!r} and {second!r} have the same tokens: give them different words"
                )
            if not self.fills_masks and longer[: len(shorter)] == shorter:
                raise TaskError(
                    f"the tokens of label {second!r} begin with all those of {first!r}, end included"
                )

    @classmethod
    def from_words(
        cls,
        words: Mapping[str, str],
        encode: Callable[[str], TokenIds],
        length_normalization: LengthNormalization = "none",
        *,
        fills_masks: bool = False,
    ) -> "Verbalizer":
        """Return the verbalizer of `words` (label to what the model should say).

        `encode` tokenises words as they follow the answer header, and appends the end-of-turn token.

        Raises:
            TaskError: A label has no words, or two labels cannot be told apart.
        """
        for label, said in words.items():
            if not said.strip():
                raise TaskError(f"label {label!r} has no words to say")
        choice_ids = tuple(tuple(encode(said)) for said in words.values())
        return cls(tuple(words), choice_ids, length_normalization, fills_masks)

    @property
    def normalizes_length(self) -> bool:
        """Whether labels are compared by the mean log-probability of their tokens instead of the sum."""
        return self.length_normalization == "mean"
