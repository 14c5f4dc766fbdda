"""What a decomposed prompt does to the rows of a batch: add an offset to each token by its position."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from tuningfork.errors import PromptError
from tuningfork.models.artefacts import DecomposedPrompt
from tuningfork.models.path import Segment


def offsets_of(segments: Sequence[Segment], device: torch.device) -> Tensor | None:
    """What a decomposed prompt in front of `segments` adds to the rows behind them, (M, H); None if none is.

    Raises:
        PromptError: if one stands elsewhere.
    """
    if any(isinstance(segment, DecomposedPrompt) for segment in segments[1:]):
        raise PromptError("a decomposed prompt must be the first segment: place the others behind it")
    first = segments[0] if segments else None
    return first.offsets.to(device) if isinstance(first, DecomposedPrompt) else None


def add_offsets(embeddings: Tensor, offsets: Sequence[Tensor | None], ends: Sequence[int]) -> Tensor:
    """Add to the embeddings (B, T, H) of each row, up to its place in `ends`, what `offsets` has for them.

    `offsets` are (M, H) or None, for nothing; one for all rows or one for each.
    """
    if all(of_row is None for of_row in offsets):
        return embeddings
    _, num_steps, width = embeddings.shape
    by_step = torch.stack(
        [
            embeddings.new_zeros(num_steps, width, dtype=torch.float32)
            if of_row is None
            else pad(of_row[:num_steps], (0, 0, 0, max(0, num_steps - len(of_row)))).float()
            for of_row in offsets
        ]
    )
    steps = torch.arange(num_steps, device=embeddings.device)
    is_input = steps[None] < torch.tensor(list(ends), device=embeddings.device)[:, None]
    return embeddings + torch.where(is_input[..., None], by_step, 0.0).to(embeddings.dtype)
