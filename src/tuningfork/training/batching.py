"""Which rows each optimizer step sees."""

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class SamplerState:
    """Where a `RowSampler` stands."""

    generator: Tensor
    order: list[int] = field(default_factory=list)


class RowSampler:
    """Endless batches of row indices: every row once per epoch, in a new seeded order each time.

    The last batch of an epoch is filled from the next one, so that every step sees as many rows.
    """

    def __init__(self, num_rows: int, batch_size: int, *, seed: int) -> None:
        if num_rows < 1:
            raise ValueError("there are no rows to draw from")
        self._num_rows = num_rows
        self._batch_size = min(batch_size, num_rows)
        self._generator = torch.Generator().manual_seed(seed)
        self._order: list[int] = []

    def next_batch(self) -> list[int]:
        """The indices of the next batch."""
        while len(self._order) < self._batch_size:
            self._order += torch.randperm(self._num_rows, generator=self._generator).tolist()
        batch, self._order = self._order[: self._batch_size], self._order[self._batch_size :]
        return batch

    def state(self) -> SamplerState:
        """Everything needed to go on from here."""
        return SamplerState(self._generator.get_state(), list(self._order))

    def restore(self, state: SamplerState) -> None:
        """Go on from `state`."""
        self._generator.set_state(state.generator)
        self._order = list(state.order)
