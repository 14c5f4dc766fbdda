"""What a prompt leaves behind once the frozen model has read it, and how rows continue from there."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from tuningfork.models.artefacts import InstancePrompt
from tuningfork.models.classification_head import ClassificationHead
from tuningfork.models.late import EmptySlots, PartialCache
from tuningfork.models.low_rank import LowRankUpdate

KeyValues = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class PrefixState:
    """A prompt after it was read once.

    `layers` holds keys and values per layer, each (1, A, P, D), for models whose layers attend, and `states`
    the last hidden states (P, H) of the tokens that were run, all but those of a key-value prefix;
    `embeddings` (P, H) is set instead for models that take the plain path. All keep their autograd history,
    and so does what changes the rows that follow: `instance`, where the prompt depends on the row; `virtual`,
    virtual tokens (P, H) for places in the rows; `offsets` (M, H), added to the first tokens of each row;
    `head`, which tells labels apart; `update`, a change of the network that runs them.
    """

    num_tokens: int
    layers: tuple[KeyValues | None, ...] = ()
    embeddings: Tensor | None = None
    instance: InstancePrompt | None = None
    states: Tensor | None = None
    virtual: Tensor | None = None
    offsets: Tensor | None = None
    head: ClassificationHead | None = None
    update: LowRankUpdate | None = None
    empty: EmptySlots | None = None
    """Slots that some layers leave out: those of tokens that enter above them."""
    context_key: Hashable = None
    """Equal for prefixes that rows' words are read alike behind; None where training may change that."""

    @property
    def num_places(self) -> int:
        """How many virtual tokens there are for places in the rows."""
        return 0 if self.virtual is None else len(self.virtual)

    def detached(self) -> "PrefixState":
        """The same state as new leaves that collect gradients, in float32 whatever the model runs in.

        Micro-batches add their gradients into these leaves, and `backward_into` sends the sum through the
        prompt once, however many micro-batches a step has.
        """

        def leaf(tensor: Tensor) -> Tensor:
            return tensor.detach().float().requires_grad_(tensor.requires_grad)

        return replace(self._mapped(leaf), update=None if self.update is None else self.update.mapped(leaf))

    def to(self, dtype: torch.dtype) -> "PrefixState":
        """The same state in another number format, but for its update; differentiable."""
        return self._mapped(lambda tensor: tensor.to(dtype))

    def tensors(self) -> list[Tensor]:
        """Every tensor of the state, in a fixed order."""
        found = [tensor for pair in self.layers if pair is not None for tensor in pair]
        single = (self.embeddings, self.states, self.virtual, self.offsets)
        found += [tensor for tensor in single if tensor is not None]
        for part in (self.instance, self.head, self.update):
            found += [] if part is None else part.tensors()
        return found

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> "PrefixState":
        layers = tuple(None if pair is None else (change(pair[0]), change(pair[1])) for pair in self.layers)
        return replace(
            self,
            layers=layers,
            embeddings=None if self.embeddings is None else change(self.embeddings),
            instance=None if self.instance is None else self.instance.mapped(change),
            states=None if self.states is None else change(self.states),
            virtual=None if self.virtual is None else change(self.virtual),
            head=None if self.head is None else self.head.mapped(change),
            offsets=None if self.offsets is None else change(self.offsets),
        )


def backward_into(prefix: PrefixState, leaves: PrefixState) -> None:
    """Send the gradients collected in `leaves` (from `prefix.detached()`) through `prefix`, once."""
    pairs = [
        (tensor, leaf.grad.to(tensor.dtype))
        for tensor, leaf in zip(prefix.tensors(), leaves.tensors(), strict=True)
        if tensor.requires_grad and leaf.grad is not None
    ]
    torch.autograd.backward([tensor for tensor, _ in pairs], [gradient for _, gradient in pairs])


def new_cache(
    layers: Sequence[KeyValues | None] = (), empty: EmptySlots | None = None, past: Tensor | None = None
) -> DynamicCache:
    """A cache that keeps every token in every layer, filled with `layers`.

    A cache built from the model's config would cut sliding-window layers to the window and lose count of how
    many tokens a prefix had; with all tokens kept, the model's own mask applies the window correctly.

    `empty` is left out by the layers it names. Where padding stands in front, the last `past` (B,) slots of
    each row are real.
    """
    if empty is None:
        cache = DynamicCache()
    else:
        cache = PartialCache(empty, None if past is None else _num_slots(layers) - past)
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
    num_slots = _num_slots(layers)
    slots = torch.arange(num_slots, device=lengths.device)
    source = (slots[None] - (num_slots - lengths)[:, None]).clamp(min=0)  # (B, S)

    def move(tensor: Tensor) -> Tensor:
        index = source[:, None, :, None].expand(-1, tensor.shape[1], -1, tensor.shape[3])
        return tensor.gather(2, index)

    return [None if pair is None else (move(pair[0]), move(pair[1])) for pair in layers]


def _num_slots(layers: Sequence[KeyValues | None]) -> int:
    return next(pair for pair in layers if pair is not None)[0].shape[2]
