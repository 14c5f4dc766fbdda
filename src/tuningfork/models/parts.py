"""What a prompt was made of, where a format outside keeps that apart; a prompt acts without it."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class TaskProduct:
    """A prompt that several tasks share, (P, H), and what one task scales it by, entry by entry.

    That is the product of `by_token` (P, R) and `by_feature` (R, H).
    """

    shared: Tensor
    by_token: Tensor
    by_feature: Tensor

    def __post_init__(self) -> None:
        shapes = [tuple(tensor.shape) for tensor in (self.shared, self.by_token, self.by_feature)]
        is_whole = [len(shape) for shape in shapes] == [2, 2, 2]
        if not is_whole or shapes[0] != (shapes[1][0], shapes[2][1]) or shapes[1][1] != shapes[2][0]:
            raise ValueError(
                "a shared prompt and its factors must be (P, H), (P, R) and (R, H), "
                f"found shapes {shapes[0]}, {shapes[1]} and {shapes[2]}"
            )

    @property
    def product(self) -> Tensor:
        """The prompt of the task, (P, H)."""
        return self.shared * (self.by_token @ self.by_feature)


@dataclass(frozen=True, slots=True)
class ContextTokens:
    """The P tokens that a prompt started from.

    Types count up by 4 from one demonstration to the next: 1 is its header or the text in front, 2 its words,
    3 the header of its answer, 4 its label.
    """

    ids: tuple[int, ...]
    mask: tuple[int, ...]
    types: tuple[int, ...]

    def __post_init__(self) -> None:
        if not len(self.ids) == len(self.mask) == len(self.types) > 0:
            raise ValueError(
                "a context needs as many ids as entries of its mask and types, found "
                f"{len(self.ids)}, {len(self.mask)} and {len(self.types)}"
            )


@dataclass(frozen=True, slots=True)
class FrozenTokens:
    """The first `count` virtual tokens of a prefix were not trained."""

    count: int


PromptParts = TaskProduct | ContextTokens | FrozenTokens
