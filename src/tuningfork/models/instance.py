"""What an instance prompt does to the rows of a batch: read their words, shift the tokens behind them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from tuningfork.types import TokenIds


def answer_start(positions: Sequence[int], row: TokenIds) -> int:
    """Where in `row` the last answer begins, if its tokens are predicted at `positions`; else its end."""
    if not positions:
        return len(row)
    start = positions[-1]
    for position in reversed(positions[:-1]):
        if position != start - 1:
            break
        start = position
    return start + 1


def mean_states(states: Sequence[Tensor], lengths: Tensor, layers: Sequence[int]) -> Tensor:
    """Features (B, F): the mean state of the first `lengths` (B,) tokens, by layer; states are (B, T, H)."""
    steps = torch.arange(states[0].shape[1], device=lengths.device)
    is_read = (steps[None] < lengths[:, None])[..., None]
    sums = [(states[layer].float() * is_read).sum(dim=1) for layer in layers]
    return torch.cat(sums, dim=1) / lengths[:, None]


def add_shifts(embeddings: Tensor, shifts: Tensor, ends: Tensor) -> Tensor:
    """Add `shifts` (B, N, H) to the N embeddings before `ends` (B,) of rows (B, T, H).

    A row with fewer tokens takes the last of its shifts.
    """
    places = ends[:, None] + torch.arange(-shifts.shape[1], 0, device=ends.device)[None]
    rows, steps = (places >= 0).nonzero(as_tuple=True)
    added = torch.zeros_like(embeddings)
    return embeddings + added.index_put((rows, places[rows, steps]), shifts[rows, steps].to(added.dtype))
