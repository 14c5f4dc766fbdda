"""The one place where ragged rows are padded."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tuningfork.types import TokenIds


@dataclass(frozen=True, slots=True)
class PaddedBatch:
    """Rows padded on the right: `ids` is (B, T), `lengths` is (B,).

    Right padding needs no attention mask in a causal model: padding comes after every real token, so no real
    token sees it, and nothing ever stands between a prompt and its text.
    """

    ids: Tensor
    lengths: Tensor


def pad_rows(rows: Sequence[TokenIds], *, device: torch.device) -> PaddedBatch:
    """Pad `rows` on the right to the longest of them.

    Padding is token 0, which every vocabulary has: what it says is never seen.

    Raises:
        ValueError: if there is no row, or a row is empty.
    """
    lengths = [len(row) for row in rows]
    if not lengths or min(lengths) == 0:
        raise ValueError(f"every row needs at least one token, found lengths {lengths}")
    ids = torch.zeros(len(rows), max(lengths), dtype=torch.long)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(list(row), dtype=torch.long)
    return PaddedBatch(ids.to(device), torch.tensor(lengths, device=device))


def batches_by_length(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Indices of rows in batches of at most `batch_size`, rows of similar length together.

    Raises:
        ValueError: if `batch_size` is below 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, found {batch_size}")
    order = sorted(range(len(lengths)), key=lambda index: (lengths[index], index))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
