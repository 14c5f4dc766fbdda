"""Virtual tokens that enter above the first layer, unseen by the layers below.

A decoder makes one mask and counts one cache length for all its layers. So layers that have no keys and
values of such tokens hold as many slots as the others, filled with zeros, and their attention leaves these
slots out. What a layer is to do differently travels with the cache, where a hook on the layer finds it: runs
at the same time do not meet, and a run with any other cache goes on as if there were no hooks.
"""

import inspect
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import DynamicCache

from tuningfork.models.packing import additive_mask

_MASK = "attention_mask"
"""What decoders of transformers call the mask that they hand to their layers."""


@dataclass(frozen=True, slots=True)
class EmptySlots:
    """The first `count` slots of a prefix hold nothing in `layers`."""

    layers: frozenset[int]
    count: int


class DirectedCache(DynamicCache, ABC):
    """A cache that changes what layers run on; see `direct_layers`."""

    @abstractmethod
    def redirect(self, layer: int, states: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """What `layer` runs on where the decoder hands it `states` (B, T, H) and `mask`."""


class PartialCache(DirectedCache):
    """Keys and values of a prefix that some layers have and others do not."""

    def __init__(self, empty: EmptySlots, padding: Tensor | None = None) -> None:
        """Leave out `empty`, which stands behind `padding` (B,) slots of each row, by default none."""
        super().__init__()
        self._empty = empty
        self._padding = torch.zeros(1, dtype=torch.long) if padding is None else padding

    def redirect(self, layer: int, states: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The same states, with the mask of a layer without the prefix hiding it."""
        if layer not in self._empty.layers:
            return states, mask
        num_slots = self.get_seq_length(layer) + states.shape[1]
        return states, hide_slots(mask, states, num_slots, self._padding, self._empty.count)


class EntryCache(DirectedCache):
    """Has `states` (B, T, H) enter at `layer`, whatever the layers below made of the input."""

    def __init__(self, layer: int, states: Tensor) -> None:
        super().__init__()
        self._layer = layer
        self._states = states

    def redirect(self, layer: int, states: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The states that enter, at their layer, and everywhere else the states that come."""
        return (self._states if layer == self._layer else states), mask


def find_layers(decoder: nn.Module, count: int) -> nn.ModuleList | None:
    """The `count` layers of `decoder`: its first list of so many modules that all take a mask; None if none.

    That layer i of them keeps the keys and values i of the cache is left to be shown by running them.
    """
    for module in decoder.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count and all(map(_takes_mask, module)):
            return module
    return None


def direct_layers(layers: nn.ModuleList) -> list[RemovableHandle]:
    """Have each of `layers` do what a `DirectedCache` says; other runs are not changed."""
    return [
        layer.register_forward_pre_hook(
            partial(_redirect, index, inspect.signature(layer.forward)), with_kwargs=True
        )
        for index, layer in enumerate(layers)
    ]


def _takes_mask(layer: nn.Module) -> bool:
    return _MASK in inspect.signature(layer.forward).parameters


def _redirect(
    index: int, signature: inspect.Signature, _layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    given = (*args, *kwargs.values())
    cache = next((value for value in given if isinstance(value, DirectedCache)), None)
    if cache is None:
        return None
    call = signature.bind(*args, **kwargs)
    first = next(iter(call.arguments))
    states, mask = cache.redirect(index, call.arguments[first], call.arguments.get(_MASK))
    call.arguments |= {first: states, _MASK: mask}
    return call.args, call.kwargs


def hide_slots(
    mask: Tensor | None, states: Tensor, num_slots: int, padding: Tensor, count: Tensor | int
) -> Tensor:
    """`mask`, for `states` (B, T, H) that see `num_slots` up to their own, without the first of each row.

    So many as `count`, of all rows or of each (B,), are hidden behind the `padding` (B,) of each row.
    """
    if mask is None:
        mask = _causal_mask(states, num_slots)
    slots = torch.arange(mask.shape[-1], device=mask.device)
    behind = slots[None] - padding.to(mask.device)[:, None]  # (B, K)
    counts = count if isinstance(count, int) else count[:, None]
    is_hidden = ((behind >= 0) & (behind < counts))[:, None, None]
    lowest = False if mask.dtype == torch.bool else torch.finfo(mask.dtype).min
    return mask.masked_fill(is_hidden, lowest)


def _causal_mask(states: Tensor, num_slots: int) -> Tensor:
    """What no mask stands for: each of the last slots of a row sees itself and those before it."""
    slots = torch.arange(num_slots, device=states.device)
    is_visible = slots[None] <= slots[-states.shape[1] :, None]
    return additive_mask(is_visible[None], states.dtype)
