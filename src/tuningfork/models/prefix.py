"""What a prompt leaves behind once the frozen model has read it, and how rows continue from there."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import pad
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
    `embeddings` (P, H) is set instead for models that take the plain path. Of an encoder-decoder model,
    `embeddings` are what its encoder reads in front of rows, and `layers` and `decoder`, virtual tokens
    (P, H), stand in front of its decoder; `num_tokens` counts the first. All keep their autograd history,
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
    decoder: Tensor | None = None
    update: LowRankUpdate | None = None
    empty: EmptySlots | None = None
    """Slots that some layers leave out: those of tokens that enter above them."""
    first_word: int | None = None
    """In an encoder, which of `embeddings` is the first token of the vocabulary; None if the row has it."""
    context_key: Hashable = None
    """Equal for prefixes that rows' words are read alike behind; None where training may change that."""

    @property
    def num_places(self) -> int:
        """How many virtual tokens there are for places in the rows."""
        return 0 if self.virtual is None else len(self.virtual)

    @property
    def num_key_values(self) -> int:
        """How many tokens the keys and values of each layer are of; 0 if there are none."""
        pair = next((pair for pair in self.layers if pair is not None), None)
        return 0 if pair is None else pair[0].shape[2]

    @property
    def num_decoder_tokens(self) -> int:
        """How many virtual tokens a decoder is given before its start token."""
        return 0 if self.decoder is None else len(self.decoder)

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
        single = (self.embeddings, self.states, self.virtual, self.offsets, self.decoder)
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
            decoder=None if self.decoder is None else change(self.decoder),
        )


def backward_into(prefix: PrefixState, leaves: PrefixState) -> None:
    """Send the gradients collected in `leaves` (from `prefix.detached()`) through `prefix`, once."""
    backward_into_all([prefix], [leaves])


def backward_into_all(prefixes: Sequence[PrefixState], leaves: Sequence[PrefixState]) -> None:
    """Send the gradients collected in `leaves` (each from `detached()`) through `prefixes`, once for all."""
    pairs = [
        (tensor, leaf.grad.to(tensor.dtype))
        for prefix, detached in zip(prefixes, leaves, strict=True)
        for tensor, leaf in zip(prefix.tensors(), detached.tensors(), strict=True)
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


def split_prefix(
    begun: PrefixState, layers: Sequence[KeyValues | None], states: Tensor, row: int, num_tokens: int
) -> PrefixState:
    """What `begun` becomes by the first `num_tokens` tokens of `row` of a batch that was run behind nothing.

    `layers` are (B, A, P, D) and `states` (B, P, H); what is taken of them are views.
    """

    def part(tensor: Tensor) -> Tensor:
        return tensor[row : row + 1, :, :num_tokens]

    own = tuple(None if pair is None else (part(pair[0]), part(pair[1])) for pair in layers)
    return replace(begun, num_tokens=num_tokens, layers=own, states=states[row, :num_tokens])


def expand_prefix(
    prefixes: Sequence[PrefixState], rows: int, dtype: torch.dtype
) -> tuple[list[KeyValues | None], Tensor | None]:
    """Keys and values per layer for `rows` rows, each (B, A, P, D), in `dtype`; differentiable.

    One prefix is expanded as a view, without a copy. Of several, one a row, each is stacked once and then
    drawn for its rows. Shorter ones are padded in front: nothing may stand between a prompt and its text.
    The second value is how many slots of each row (B,) hold nothing; None where all hold something.

    Raises:
        ValueError: if there are several prefixes and not one for each row.
    """
    if len(prefixes) not in (1, rows):
        raise ValueError(f"{rows} rows need 1 prefix or {rows}, found {len(prefixes)}")
    unique = list({id(prefix): prefix for prefix in prefixes}.values())
    if len(unique) == 1:
        layers = unique[0].to(dtype).layers
        return [
            None if pair is None else (pair[0].expand(rows, -1, -1, -1), pair[1].expand(rows, -1, -1, -1))
            for pair in layers
        ], None
    places = {id(prefix): place for place, prefix in enumerate(unique)}
    device = next((tensor.device for prefix in unique for tensor in prefix.tensors()), None)
    drawn = torch.tensor([places[id(prefix)] for prefix in prefixes], device=device)
    longest = max(prefix.num_tokens for prefix in unique)
    missing = torch.tensor([longest - prefix.num_tokens for prefix in unique], device=device)
    by_prefix = [prefix.to(dtype).layers for prefix in unique]
    # A prompt without a token has no layers at all.
    num_layers = max(map(len, by_prefix))
    stacked: list[KeyValues | None] = []
    for index in range(num_layers):
        pairs = [layers[index] if layers else None for layers in by_prefix]
        stacked.append(_stacked(pairs, longest, drawn))
    return stacked, missing[drawn] if missing.any() else None


def _stacked(pairs: Sequence[KeyValues | None], longest: int, drawn: Tensor) -> KeyValues | None:
    """One layer of several prefixes, each padded in front to `longest` slots, as the rows draw them."""
    filled = next((pair for pair in pairs if pair is not None), None)
    if filled is None:
        return None

    def side(which: int) -> Tensor:
        nothing = filled[which][:, :, :0]
        parts = [nothing if pair is None else pair[which] for pair in pairs]
        padded = [pad(part, (0, 0, longest - part.shape[2], 0)) for part in parts]
        return torch.cat(padded).index_select(0, drawn)

    return side(0), side(1)


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
