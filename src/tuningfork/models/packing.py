"""Several continuations of each row in one sequence, kept apart by the attention mask.

The choices of a classification continue the same row. Laid one after the other behind the row, each seeing
the prefix, the row and itself but no other choice, they need one forward and no copies of keys and values.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class PackedLayout:
    """Where everything stands: T row tokens, then the S tokens of all stems.

    `positions` is (B, T + S). `is_visible` is (B, T + S, P + T + S): which slot each token may attend to.
    `starts` names the index of each stem's first token among the S.
    """

    positions: Tensor
    is_visible: Tensor
    starts: tuple[int, ...]


def pack_stems(
    lengths: Tensor, stems: Sequence[Sequence[int]], *, num_past: int, padding: Tensor | None = None
) -> PackedLayout:
    """Lay out rows of `lengths` (B,) tokens, padded on the right, with `stems` behind each.

    They follow `num_past` slots, of which the first `padding` (B,) of each row hold nothing.
    """
    device, width = lengths.device, int(lengths.max())
    sizes = [len(stem) for stem in stems]
    stem_of = torch.tensor([s for s, size in enumerate(sizes) for _ in range(size)], device=device)  # (S,)
    offset = torch.tensor([step for size in sizes for step in range(size)], device=device)  # (S,)
    steps = torch.arange(width, device=device)
    rows, total = lengths.shape[0], len(stem_of)

    empty = torch.zeros_like(lengths) if padding is None else padding
    past = num_past - empty[:, None]
    row_positions = past + steps[None]
    stem_positions = past + lengths[:, None] + offset[None]
    row_sees_row = (steps[None] <= steps[:, None])[None].expand(rows, -1, -1)
    stem_sees_row = (steps[None] < lengths[:, None])[:, None].expand(-1, total, -1)
    stem_sees_stem = (stem_of[None] == stem_of[:, None]) & (offset[None] <= offset[:, None])
    of_rows = torch.cat([row_sees_row, row_sees_row.new_zeros(rows, width, total)], dim=2)
    of_stems = torch.cat([stem_sees_row, stem_sees_stem[None].expand(rows, -1, -1)], dim=2)
    among_new = torch.cat([of_rows, of_stems], dim=1)
    is_past = torch.arange(num_past, device=device)[None] >= empty[:, None]
    sees_past = is_past[:, None].expand(-1, width + total, -1)
    starts = tuple(sum(sizes[:index]) for index in range(len(sizes)))
    return PackedLayout(
        positions=torch.cat([row_positions, stem_positions], dim=1),
        is_visible=torch.cat([sees_past, among_new], dim=2),
        starts=starts,
    )


def additive_mask(is_visible: Tensor, dtype: torch.dtype) -> Tensor:
    """The mask (B, 1, Q, K) that attention adds to its scores: 0 where visible, else the lowest number."""
    mask = torch.full(is_visible.shape, torch.finfo(dtype).min, dtype=dtype, device=is_visible.device)
    return mask.masked_fill(is_visible, 0.0)[:, None]
