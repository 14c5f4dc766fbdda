"""Keys and values of rows that are continued token by token, in memory that is allocated ahead.

All rows end at the same slot, whatever their lengths, so what a row does not fill is in front of it: nothing
ever stands between a prompt and its text, and a window that is counted in slots holds what it should.
"""

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer

from tuningfork.models.late import DirectedCache, EmptySlots, hide_slots
from tuningfork.models.prefix import KeyValues

_SLOTS_AHEAD = 64
"""Slots are allocated in multiples of this, and so many ahead."""


class RowSlots(DirectedCache):
    """A cache whose rows join and leave between runs.

    It shows the rows (B, A, S, D) from the first slot that one of them fills up to the last, which all fill.
    """

    def __init__(self, layers: Sequence[KeyValues | None]) -> None:
        """Hold no row; each layer is to keep what it keeps in `layers`, those of any row."""
        super().__init__()
        self.lengths: list[int] = []
        """How many slots each row fills."""
        self._empty: list[EmptySlots | None] = []
        self._start = self._end = 0
        self._rows_reserved = self._slots_reserved = 0
        self._kept = [None if pair is None else _SlotLayer(pair) for pair in layers]
        self.layers = [_absent() if layer is None else layer for layer in self._kept]

    @property
    def num_slots(self) -> int:
        """S."""
        return self._end - self._start

    @property
    def num_bytes(self) -> int:
        """Memory that is allocated."""
        return sum(layer.num_bytes for layer in self._slot_layers)

    def past(self, device: torch.device) -> Tensor:
        """How many of the last slots each row (B,) fills."""
        return torch.tensor(self.lengths, device=device)

    def join(
        self, layers: Sequence[KeyValues | None], lengths: Sequence[int], empty: EmptySlots | None = None
    ) -> None:
        """Add rows behind those that are there: the last `lengths` slots of keys and values (B, A, S, D).

        Of the first slots of each, those that `empty` names are left out by some layers.
        """
        first, shown = len(self.lengths), max(self.num_slots, *lengths)
        self._reserve(first + len(lengths), shown, 0)
        self._start = self._end - shown
        for layer, pair in zip(self._kept, layers, strict=True):
            if layer is not None and pair is not None:
                layer.put(pair, first, lengths, self._end)
        self.lengths += lengths
        self._empty += [empty] * len(lengths)
        self._show()

    def leave(self, places: Collection[int]) -> None:
        """Drop the rows at `places`; the others keep their order."""
        stay = [place for place in range(len(self.lengths)) if place not in places]
        for layer in self._slot_layers:
            layer.keep(stay)
        self.lengths = [self.lengths[place] for place in stay]
        self._empty = [self._empty[place] for place in stay]
        self._start = self._end - max(self.lengths, default=0)
        if not stay:
            self._start = self._end = self._rows_reserved = self._slots_reserved = 0
            self._show()
            self._move()
        self._show()

    def open(self, count: int) -> None:
        """Make room for `count` more tokens of each row; what was run and not committed is forgotten."""
        self._reserve(len(self.lengths), self.num_slots, count)
        self._show()

    def commit(self, count: int) -> None:
        """Keep the `count` tokens of each row that were run since `open`."""
        self._end += count
        self.lengths = [length + count for length in self.lengths]
        self._show()

    def redirect(self, layer: int, states: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The same states, with the mask of a layer hiding what it leaves out of each row."""
        counts = [0 if empty is None or layer not in empty.layers else empty.count for empty in self._empty]
        if not any(counts):
            return states, mask
        num_slots = self.get_seq_length(layer) + states.shape[1]
        padding = num_slots - states.shape[1] - self.past(states.device)
        hidden = torch.tensor(counts, device=states.device)
        return states, hide_slots(mask, states, num_slots, padding, hidden)

    @property
    def _slot_layers(self) -> "list[_SlotLayer]":
        return [layer for layer in self._kept if layer is not None]

    def _reserve(self, rows: int, before: int, behind: int) -> None:
        """Have memory for `rows`, for `before` slots up to where they end and `behind` slots behind."""
        has_room = before <= self._end and self._end + behind <= self._slots_reserved
        if rows <= self._rows_reserved and has_room:
            return
        if rows > self._rows_reserved:
            self._rows_reserved = max(rows, min(2 * self._rows_reserved, rows + 8))
        wanted = before + behind + max(_SLOTS_AHEAD, before // 4)
        if not before + behind + _SLOTS_AHEAD <= self._slots_reserved <= 4 * wanted:
            self._slots_reserved = -(-wanted // _SLOTS_AHEAD) * _SLOTS_AHEAD
        self._show()
        self._start, self._end = before - self.num_slots, before
        self._move()

    def _move(self) -> None:
        for layer in self._slot_layers:
            layer.move(self._rows_reserved, self._slots_reserved, self._end)

    def _show(self) -> None:
        for layer in self._slot_layers:
            layer.show(len(self.lengths), self._start, self._end)


class _SlotLayer(DynamicLayer):
    """Keys and values of one layer, (B, A, S, D), as a part of memory that is larger."""

    def __init__(self, like: KeyValues) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lazy_initialization(*like)
        self._memory = tuple(part.new_zeros(0, part.shape[1], 0, part.shape[3]) for part in like)
        self._rows = self._start = self._end = 0

    @property
    def num_bytes(self) -> int:
        return sum(part.nbytes for part in self._memory)

    def move(self, rows: int, slots: int, end: int) -> None:
        """Copy what is shown into new memory, where it ends at slot `end`."""
        first = end - (self._end - self._start)
        moved = []
        for part in self._memory:
            # Zeros, since what is hidden is still multiplied, by zero: it must be a number.
            larger = part.new_zeros(rows, part.shape[1], slots, part.shape[3])
            larger[: self._rows, :, first:end] = part[: self._rows, :, self._start : self._end]
            moved.append(larger)
        self._memory = tuple(moved)

    def put(self, pair: KeyValues, first: int, lengths: Sequence[int], end: int) -> None:
        """Write rows from row `first` on, the last `lengths` slots of each, so that they end at `end`."""
        for part, rows in zip(self._memory, pair, strict=True):
            for place, length in enumerate(lengths):
                part[first + place, :, end - length : end] = rows[place, :, rows.shape[2] - length :]

    def keep(self, places: Sequence[int]) -> None:
        """Move the rows at `places`, which rise, to the front."""
        for part in self._memory:
            for place, old in enumerate(places):
                if place != old:
                    part[place, :, self._start : self._end] = part[old, :, self._start : self._end]

    def show(self, rows: int, start: int, end: int) -> None:
        """Be the first `rows`, from slot `start` up to `end`."""
        self._rows, self._start, self._end = rows, start, end
        self.keys, self.values = (part[:rows, :, start:end] for part in self._memory)

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write tokens (B, A, t, D) behind what is shown, and show them, too."""
        end = self._end + key_states.shape[2]
        for part, new in zip(self._memory, (key_states, value_states), strict=True):
            part[: self._rows, :, self._end : end] = new
        self.show(self._rows, self._start, end)
        assert self.keys is not None
        assert self.values is not None
        return self.keys, self.values


def _absent() -> DynamicLayer:
    return DynamicLayer()  # type: ignore[no-untyped-call]
