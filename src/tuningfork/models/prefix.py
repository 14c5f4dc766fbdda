"""What a prompt leaves behind once the frozen model has read it, and how rows continue from there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from tuningfork.models.artefacts import InstancePrompt
from tuningfork.models.classification_head import ClassificationHead

KeyValues = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class PrefixState:
    """A prompt after it was read once.

    `layers` holds keys and values per layer, each (1, A, P, D), for models whose layers attend; `embeddings`
    (P, H) is set instead for models that take the plain path. Both keep their autograd history, and so do
    `instance`: what is done to each row that follows, where the prompt depends on the row, and `head`: what
    tells labels apart, where the prompt has a head for that.
    """

    num_tokens: int
    layers: tuple[KeyValues | None, ...] = ()
    embeddings: Tensor | None = None
    instance: InstancePrompt | None = None
    head: ClassificationHead | None = None

    def detached(self) -> "PrefixState":
        """The same state as new leaves that collect gradients, in float32 whatever the model runs in.

        Micro-batches add their gradients into these leaves, and `backward_into` sends the sum through the
        prompt once, however many micro-batches a step has.
        """
        return self._mapped(lambda tensor: tensor.detach().float().requires_grad_(tensor.requires_grad))

    def to(self, dtype: torch.dtype) -> "PrefixState":
        """The same state in another number format; differentiable."""
        return self._mapped(lambda tensor: tensor.to(dtype))

    def tensors(self) -> list[Tensor]:
        """Every tensor of the state, in a fixed order."""
        found = [tensor for pair in self.layers if pair is not None for tensor in pair]
        found += [] if self.embeddings is None else [self.embeddings]
        found += [] if self.instance is None else self.instance.tensors()
        return found if self.head is None else [*found, *self.head.tensors()]

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> "PrefixState":
        layers = tuple(None if pair is None else (change(pair[0]), change(pair[1])) for pair in self.layers)
        embeddings = None if self.embeddings is None else change(self.embeddings)
        instance = None if self.instance is None else self.instance.mapped(change)
        head = None if self.head is None else self.head.mapped(change)
        return PrefixState(self.num_tokens, layers, embeddings, instance, head)


def backward_into(prefix: PrefixState, leaves: PrefixState) -> None:
    """Send the gradients collected in `leaves` (from `prefix.detached()`) through `prefix`, once."""
    pairs = [
        (tensor, leaf.grad.to(tensor.dtype))
        for tensor, leaf in zip(prefix.tensors(), leaves.tensors(), strict=True)
        if tensor.requires_grad and leaf.grad is not None
    ]
    torch.autograd.backward([tensor for tensor, _ in pairs], [gradient for _, gradient in pairs])


def new_cache(layers: Sequence[KeyValues | None] = ()) -> DynamicCache:
    """A cache that keeps every token in every layer, filled with `layers`.

    A cache built from the model's config would cut sliding-window layers to the window and lose count of how
    many tokens a prefix had; with all tokens kept, the model's own mask applies the window correctly.
    """
    cache = DynamicCache()
    for pair in layers:
        layer = DynamicLayer()  # type: ignore[no-untyped-call]
        if pair is not None:
            # Set, not `update`d: `update` would copy a prefix that is expanded over the batch as a view.
            layer.lazy_initialization(*pair)
            layer.keys, layer.values = pair
        cache.layers.append(layer)
    return cache


def cache_layers(cache: DynamicCache) -> tuple[KeyValues | None, ...]:
    """Keys and values per layer of `cache`, each (B, A, S, D)."""
    layers = cast(list[DynamicLayer], cache.layers)
    return tuple(
        None if layer.keys is None or layer.values is None else (layer.keys, layer.values) for layer in layers
    )


def expand_prefix(prefixes: Sequence[PrefixState], rows: int) -> list[KeyValues | None]:
    """Keys and values per layer for `rows` rows, each (B, A, P, D).

    One prefix is expanded as a view, without a copy. Several prefixes, one a row, must have equal lengths.

    Raises:
        ValueError: if there are several prefixes and not one for each row, or their lengths differ.
    """
    first = prefixes[0]
    if len(prefixes) == 1:
        return [
            None if pair is None else (pair[0].expand(rows, -1, -1, -1), pair[1].expand(rows, -1, -1, -1))
            for pair in first.layers
        ]
    lengths = sorted({prefix.num_tokens for prefix in prefixes})
    if len(prefixes) != rows or len(lengths) != 1:
        raise ValueError(
            f"{rows} rows need 1 prefix or {rows} of equal length, found {len(prefixes)} of lengths {lengths}"
        )
    stacked: list[KeyValues | None] = []
    for index, pair in enumerate(first.layers):
        if pair is None:
            stacked.append(None)
            continue
        pairs = [p for prefix in prefixes if (p := prefix.layers[index]) is not None]
        stacked.append((torch.cat([p[0] for p in pairs]), torch.cat([p[1] for p in pairs])))
    return stacked


def align_right(layers: Sequence[KeyValues | None], lengths: Tensor) -> list[KeyValues | None]:
    """Move the padding of a right-padded cache to the front.

    `layers` are (B, A, S, D) of which the first `lengths[b]` slots of row b are real. Afterwards the last
    `lengths[b]` slots are, so that every row continues at the same slot with nothing in between. Keys keep
    their positions: these are inside the keys, or counted from the mask.
    """
    present = next(pair for pair in layers if pair is not None)[0]
    slots = torch.arange(present.shape[2], device=present.device)
    source = (slots[None] - (present.shape[2] - lengths)[:, None]).clamp(min=0)  # (B, S)

    def move(tensor: Tensor) -> Tensor:
        index = source[:, None, :, None].expand(-1, tensor.shape[1], -1, tensor.shape[3])
        return tensor.gather(2, index)

    return [None if pair is None else (move(pair[0]), move(pair[1])) for pair in layers]
