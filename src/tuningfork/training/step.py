"""The loss of effective batches and its gradient, in micro-batches: of one prompt, or of several at once."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tuningfork.models.artefacts import SoftPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.prefix import PrefixState, backward_into_all
from tuningfork.training.objectives import Objective, TokenObjective
from tuningfork.types import TrainingRow

OwnLoss = Callable[[PrefixState], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class PromptBatch:
    """A prompt and the rows it learns from in one step."""

    prompt: SoftPrompt
    rows: Sequence[TrainingRow]
    own_loss: OwnLoss | None = None
    """What is added to the mean loss of the rows; it looks at the prompt alone."""
    share: float = 1.0
    """What the mean counts for in a larger batch that other rows belong to as well."""


def accumulate_gradients(
    model: FrozenModel,
    prompt: SoftPrompt,
    rows: Sequence[TrainingRow],
    *,
    micro_batch_size: int,
    objective: Objective | None = None,
    own_loss: OwnLoss | None = None,
    share: float = 1.0,
) -> float:
    """Add the gradient of the mean loss over `rows` to all parameters that require one; return that loss.

    These are the prompt's and, where weights are learned, those of the network.
    """
    batch = PromptBatch(prompt, rows, own_loss, share)
    return accumulate_bank(model, [batch], micro_batch_size=micro_batch_size, objective=objective)[0]


def accumulate_bank(
    model: FrozenModel,
    batches: Sequence[PromptBatch],
    *,
    micro_batch_size: int,
    objective: Objective | None = None,
) -> list[float]:
    """Add to each prompt's parameters the gradient of its own mean loss; return these losses.

    A method's own loss is added to both. It looks at the prompt alone, so it is computed once for all rows.

    All prompts run once, side by side. Micro-batches of rows of any of them continue from their detached
    states and leave their gradients there, divided by what the objective counts in the whole batch of that
    prompt (label tokens, by default), and one backward sends the sums through the prompts: the result does
    not depend on how the rows were cut into micro-batches, nor on the other prompts.
    """
    objective = objective or TokenObjective()
    prefixes = model.prefixes([batch.prompt for batch in batches])
    leaves = [prefix.detached() for prefix in prefixes]
    counts = [objective.count(batch.rows) for batch in batches]
    totals = [0.0] * len(batches)
    for owners, rows in _micro_batches(leaves, batches, micro_batch_size):
        is_shared = len(set(owners)) == 1
        prefix = leaves[owners[0]] if is_shared else [leaves[owner] for owner in owners]
        losses = objective.losses(model, prefix, rows)
        num_losses = [objective.count([row]) for row in rows]
        of_losses = [owner for owner, count in zip(owners, num_losses, strict=True) for _ in range(count)]
        divisors = [counts[owner] / batches[owner].share for owner in of_losses]
        shares = losses / torch.tensor(divisors, device=losses.device)
        shares.sum().backward()  # type: ignore[no-untyped-call]
        for owner, share in zip(of_losses, shares.tolist(), strict=True):
            totals[owner] += share
    for place, batch in enumerate(batches):
        if batch.own_loss is not None:
            loss = batch.own_loss(leaves[place])
            loss.backward()  # type: ignore[no-untyped-call]
            totals[place] += loss.item()
    backward_into_all(prefixes, leaves)
    return totals


def _micro_batches(
    prefixes: Sequence[PrefixState], batches: Sequence[PromptBatch], size: int
) -> Iterator[tuple[list[int], list[TrainingRow]]]:
    """Rows of similar length behind prompts of one length, and whose they are: little of it is padding."""
    every = [(owner, row) for owner, batch in enumerate(batches) for row in batch.rows]
    for length in sorted({prefix.num_tokens for prefix in prefixes}):
        fitting = [pair for pair in every if prefixes[pair[0]].num_tokens == length]
        fitting.sort(key=lambda pair: len(pair[1].ids))
        for start in range(0, len(fitting), size):
            owners, rows = zip(*fitting[start : start + size], strict=True)
            yield list(owners), list(rows)
