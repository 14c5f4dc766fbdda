"""Words that no prompt in training changes: read once, then kept for every later step.

Where a prompt acts only behind the words of a row, the frozen model reads these words alike at every step.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from tuningfork.models.prefix import KeyValues, PrefixState


@dataclass(frozen=True, slots=True, eq=False)
class ReadWords:
    """What the model made of the words of one row."""

    layers: tuple[KeyValues | None, ...]
    """Keys and values by layer, each (A, W, D)."""
    states: Tensor
    """Last hidden states (W, H)."""
    features: Tensor
    """Mean states (F,) of the layers that were asked for."""

    @property
    def num_bytes(self) -> int:
        """Memory that this takes."""
        tensors = [tensor for pair in self.layers if pair is not None for tensor in pair]
        return sum(tensor.nbytes for tensor in (*tensors, self.states, self.features))


class ContextCache:
    """Words that were read, up to `budget_bytes`; what does not fit is read again each time."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._kept: dict[Hashable, ReadWords] = {}
        self.num_bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def is_open(self) -> bool:
        """Whether anything may be kept."""
        return self._budget_bytes > 0

    def get(self, key: Hashable) -> ReadWords | None:
        """What was kept under `key`, if anything was."""
        return self._kept.get(key)

    def put(self, key: Hashable, read: ReadWords) -> None:
        """Keep `read`, if there is room."""
        if self.num_bytes + read.num_bytes <= self._budget_bytes and key not in self._kept:
            self._kept[key] = read
            self.num_bytes += read.num_bytes


def split_rows(
    layers: Sequence[KeyValues | None], states: Tensor, features: Tensor, lengths: Sequence[int], past: int
) -> list[ReadWords]:
    """One `ReadWords` a row of a batch that was read behind `past` tokens and padded on the right.

    They are copies, so that none of them holds on to the batch.
    """

    def part(tensor: Tensor, row: int) -> Tensor:
        return tensor[row, :, past : past + lengths[row]].clone()

    return [
        ReadWords(
            tuple(None if pair is None else (part(pair[0], row), part(pair[1], row)) for pair in layers),
            states[row, : lengths[row]].clone(),
            features[row].clone(),
        )
        for row in range(len(lengths))
    ]


def join_rows(prefix: PrefixState, reads: Sequence[ReadWords]) -> list[KeyValues | None]:
    """Keys and values per layer (B, A, S, D) of rows behind `prefix`, all padding in front."""
    joined: list[KeyValues | None] = []
    for index, first in enumerate(reads[0].layers):
        if first is None:
            joined.append(None)
            continue
        before = prefix.layers[index] if prefix.layers else None
        pairs = [pair for read in reads if (pair := read.layers[index]) is not None]
        keys, values = (
            _padded_in_front([pair[side] for pair in pairs], None if before is None else before[side][0])
            for side in (0, 1)
        )
        joined.append((keys, values))
    return joined


def _padded_in_front(words: Sequence[Tensor], before: Tensor | None) -> Tensor:
    rows = words if before is None else [torch.cat([before.to(row.dtype), row], dim=1) for row in words]
    by_token = [row.transpose(0, 1) for row in rows]
    return pad_sequence(by_token, batch_first=True, padding_side="left").transpose(1, 2)
