"""The small immutable things a soft-prompt method makes; whoever uses a prompt sees only these."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from tuningfork.models.classification_head import ClassificationHead
from tuningfork.models.low_rank import LowRankUpdate
from tuningfork.types import TokenIds


@dataclass(frozen=True, slots=True, eq=False)
class InputPrompt:
    """Virtual tokens at the input: `embeddings` is (P, H), in the space of `FrozenModel.embed`."""

    embeddings: Tensor

    def __post_init__(self) -> None:
        if self.embeddings.ndim != 2:
            raise ValueError(f"an input prompt is (P, H), found shape {tuple(self.embeddings.shape)}")

    @property
    def num_virtual_tokens(self) -> int:
        """P."""
        return self.embeddings.shape[0]

    def tensors(self) -> list[Tensor]:
        """Every tensor, in a fixed order."""
        return [self.embeddings]

    def detached(self) -> "InputPrompt":
        """A copy without autograd history."""
        return InputPrompt(self.embeddings.detach().clone())


@dataclass(frozen=True, slots=True, eq=False)
class KeyValuePrefix:
    """Keys and values per layer, each (A, P, D), or None for a layer that keeps none.

    Keys enter the cache as they are: rotary positions, if the model has them, are already inside, counted
    from `position`. Text that follows starts at position `position + P`.
    """

    layers: tuple[tuple[Tensor, Tensor] | None, ...]
    position: int = 0

    def __post_init__(self) -> None:
        lengths = {tensor.shape[1] for pair in self.layers if pair is not None for tensor in pair}
        if len(lengths) != 1:
            raise ValueError(
                f"every layer of a prefix needs the same number of tokens, found {sorted(lengths)}"
            )

    @property
    def num_virtual_tokens(self) -> int:
        """P."""
        return next(pair for pair in self.layers if pair is not None)[0].shape[1]

    def tensors(self) -> list[Tensor]:
        """Every tensor, in a fixed order."""
        return [tensor for pair in self.layers if pair is not None for tensor in pair]

    def detached(self) -> "KeyValuePrefix":
        """A copy without autograd history."""
        pairs = (
            None if pair is None else (pair[0].detach().clone(), pair[1].detach().clone())
            for pair in self.layers
        )
        return KeyValuePrefix(tuple(pairs), self.position)


@dataclass(frozen=True, slots=True, eq=False)
class InstancePrompt:
    """Virtual tokens in front, and a shift of each row's last tokens that depends on the row.

    A row's features (F) are the mean hidden states of its words after each of `layers_read`, as the frozen
    model reads them behind `front`. Standardised by `mean` and `scale`, they go through `down` (F, M) and
    `up` (M, N * H), and the outcome plus `shift` (N, H) is added to the embeddings of the last N tokens
    before the answer: what stands between the words of a row and its answer, such as a chat header.
    """

    front: Tensor
    """Virtual tokens (P, H) that every row follows."""
    shift: Tensor
    down: Tensor
    up: Tensor
    mean: Tensor
    scale: Tensor
    layers_read: tuple[int, ...]
    """0 is the embeddings, i what layer i gives on."""

    def __post_init__(self) -> None:
        (num_features, width), (num_shifted, hidden) = self.down.shape, self.shift.shape
        expected = {
            "front": (self.front.shape[0], hidden),
            "up": (width, num_shifted * hidden),
            "mean": (num_features,),
            "scale": (num_features,),
        }
        for name, shape in expected.items():
            if (found := tuple(getattr(self, name).shape)) != shape:
                raise ValueError(f"{name} of an instance prompt must be {shape}, found shape {found}")
        if not self.layers_read or num_features != len(self.layers_read) * hidden:
            raise ValueError(
                f"{num_features} features are not those of {len(self.layers_read)} layers of {hidden}"
            )

    @property
    def num_virtual_tokens(self) -> int:
        """P."""
        return self.front.shape[0]

    @property
    def num_shifted_tokens(self) -> int:
        """N."""
        return self.shift.shape[0]

    def shifts(self, features: Tensor) -> Tensor:
        """What is added to the last N tokens of each row, (B, N, H), for its features (B, F)."""
        learned = ((features - self.mean) / self.scale) @ self.down @ self.up
        return self.shift + learned.view(-1, *self.shift.shape)

    def tensors(self) -> list[Tensor]:
        """Every tensor, in a fixed order."""
        return [self.front, self.shift, self.down, self.up, self.mean, self.scale]

    def mapped(self, change: Callable[[Tensor], Tensor]) -> "InstancePrompt":
        """The same prompt with `change` applied to every tensor."""
        front, shift, down, up, mean, scale = map(change, self.tensors())
        return InstancePrompt(front, shift, down, up, mean, scale, self.layers_read)

    def detached(self) -> "InstancePrompt":
        """A copy without autograd history."""
        return self.mapped(lambda tensor: tensor.detach().clone())


@dataclass(frozen=True, slots=True, eq=False)
class HeadedPrefix:
    """A key-value prefix, and a head that tells labels apart behind it; it says no words."""

    prefix: KeyValuePrefix
    head: ClassificationHead

    @property
    def num_virtual_tokens(self) -> int:
        """P."""
        return self.prefix.num_virtual_tokens

    def tensors(self) -> list[Tensor]:
        """Every tensor, in a fixed order."""
        return [*self.prefix.tensors(), *self.head.tensors()]

    def detached(self) -> "HeadedPrefix":
        """A copy without autograd history."""
        head = self.head.mapped(lambda tensor: tensor.detach().clone())
        return HeadedPrefix(self.prefix.detached(), head)


@dataclass(frozen=True, slots=True, eq=False)
class PlacedPrompt:
    """Virtual tokens (P, H) that stand anywhere: among the words in front, and inside each row.

    Their places are ids: -1 - j, in `prefix_ids` or in a row, is virtual token j.
    """

    embeddings: Tensor
    prefix_ids: tuple[int, ...]
    """What every row follows: words, virtual tokens, or both."""

    def __post_init__(self) -> None:
        if self.embeddings.ndim != 2:
            raise ValueError(f"virtual tokens are (P, H), found shape {tuple(self.embeddings.shape)}")
        if min(self.prefix_ids, default=0) < -self.num_virtual_tokens:
            raise ValueError(
                f"the prompt has {self.num_virtual_tokens} virtual tokens and a place for number "
                f"{-min(self.prefix_ids)}"
            )

    @property
    def num_virtual_tokens(self) -> int:
        """P."""
        return self.embeddings.shape[0]

    def tensors(self) -> list[Tensor]:
        """Every tensor, in a fixed order."""
        return [self.embeddings]

    def detached(self) -> "PlacedPrompt":
        """A copy without autograd history."""
        return PlacedPrompt(self.embeddings.detach().clone(), self.prefix_ids)


@dataclass(frozen=True, slots=True, eq=False)
class HeadedPrompt:
    """Virtual tokens at the input, and a head that tells labels apart behind them; it says no words."""

    prompt: InputPrompt | PlacedPrompt
    head: ClassificationHead

    @property
    def num_virtual_tokens(self) -> int:
        """P."""
        return self.prompt.num_virtual_tokens

    def tensors(self) -> list[Tensor]:
        """Every tensor, in a fixed order."""
        return [*self.prompt.tensors(), *self.head.tensors()]

    def detached(self) -> "HeadedPrompt":
        """A copy without autograd history."""
        head = self.head.mapped(lambda tensor: tensor.detach().clone())
        return HeadedPrompt(self.prompt.detached(), head)


@dataclass(frozen=True, slots=True, eq=False)
class DecomposedPrompt:
    """Virtual tokens in front, and an offset of each token of a row by its position in the row.

    Row i of `down` (M, R) times `up` (R, H) is added to the embedding of token i, counted from the first
    token of the row. Tokens from M on stay as they are, and so do those of the answer.
    """

    embeddings: Tensor
    """Virtual tokens (P, H), in the space of `FrozenModel.embed`."""
    down: Tensor
    up: Tensor

    def __post_init__(self) -> None:
        shapes = [tuple(tensor.shape) for tensor in (self.embeddings, self.down, self.up)]
        is_whole = [len(shape) for shape in shapes] == [2, 2, 2]
        if not is_whole or shapes[1][1] != shapes[2][0] or shapes[0][1] != shapes[2][1]:
            raise ValueError(
                "embeddings, down and up of a decomposed prompt must be (P, H), (M, R) and (R, H), "
                f"found shapes {shapes[0]}, {shapes[1]} and {shapes[2]}"
            )

    @property
    def num_virtual_tokens(self) -> int:
        """P."""
        return self.embeddings.shape[0]

    @property
    def offsets(self) -> Tensor:
        """What is added to the first M tokens of each row, (M, H)."""
        return self.down @ self.up

    def tensors(self) -> list[Tensor]:
        """Every tensor, in a fixed order."""
        return [self.embeddings, self.down, self.up]

    def detached(self) -> "DecomposedPrompt":
        """A copy without autograd history."""
        return DecomposedPrompt(*(tensor.detach().clone() for tensor in self.tensors()))


@dataclass(frozen=True, slots=True, eq=False)
class EncoderDecoderPrompt:
    """What stands in front of the two inputs of an encoder-decoder model.

    The encoder reads `encoder`, words alone or with virtual tokens, before each row; `decoder` stands in
    front of the decoder's start token.
    """

    encoder: tuple[int, ...] | PlacedPrompt
    decoder: InputPrompt | KeyValuePrefix | HeadedPrefix

    @property
    def num_virtual_tokens(self) -> int:
        """P, of both together."""
        read = self.encoder.num_virtual_tokens if isinstance(self.encoder, PlacedPrompt) else 0
        return read + self.decoder.num_virtual_tokens

    def tensors(self) -> list[Tensor]:
        """Every tensor, in a fixed order."""
        read = self.encoder.tensors() if isinstance(self.encoder, PlacedPrompt) else []
        return [*read, *self.decoder.tensors()]

    def detached(self) -> "EncoderDecoderPrompt":
        """A copy without autograd history."""
        read = self.encoder.detached() if isinstance(self.encoder, PlacedPrompt) else self.encoder
        return EncoderDecoderPrompt(read, self.decoder.detached())


UnadaptedPrompt = (
    InputPrompt
    | KeyValuePrefix
    | HeadedPrefix
    | HeadedPrompt
    | InstancePrompt
    | PlacedPrompt
    | DecomposedPrompt
    | EncoderDecoderPrompt
)
"""Prompts of a network whose weights act as they are."""


@dataclass(frozen=True, slots=True, eq=False)
class AdaptedPrompt:
    """A prompt, and a low-rank update of the network that runs it and the rows behind it."""

    prompt: UnadaptedPrompt
    update: LowRankUpdate

    @property
    def num_virtual_tokens(self) -> int:
        """P."""
        return self.prompt.num_virtual_tokens

    def tensors(self) -> list[Tensor]:
        """Every tensor, in a fixed order."""
        return [*self.prompt.tensors(), *self.update.tensors()]

    def detached(self) -> "AdaptedPrompt":
        """A copy without autograd history."""
        return AdaptedPrompt(self.prompt.detached(), self.update.detached())


SoftPrompt = UnadaptedPrompt | AdaptedPrompt


def without_head(
    segment: TokenIds | UnadaptedPrompt,
) -> tuple[TokenIds | UnadaptedPrompt, ClassificationHead | None]:
    """What stands in front of the head of a prompt, and the head; or `segment` as it is, and None."""
    match segment:
        case HeadedPrefix(prefix=prompt, head=head) | HeadedPrompt(prompt=prompt, head=head):
            return prompt, head
        case _:
            return segment, None
