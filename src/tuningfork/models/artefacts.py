"""The two small immutable things a soft-prompt method makes; whoever uses a prompt sees only these."""

from dataclasses import dataclass

from torch import Tensor


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

    def detached(self) -> "KeyValuePrefix":
        """A copy without autograd history."""
        pairs = (
            None if pair is None else (pair[0].detach().clone(), pair[1].detach().clone())
            for pair in self.layers
        )
        return KeyValuePrefix(tuple(pairs), self.position)


SoftPrompt = InputPrompt | KeyValuePrefix
