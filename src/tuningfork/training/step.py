"""The loss of an effective batch and its gradient, in micro-batches."""

from collections.abc import Callable, Sequence

from torch import Tensor

from tuningfork.models.artefacts import SoftPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.prefix import PrefixState, backward_into
from tuningfork.training.objectives import Objective, TokenObjective
from tuningfork.types import TrainingRow

_TOKENS = TokenObjective()


def accumulate_gradients(
    model: FrozenModel,
    prompt: SoftPrompt,
    rows: Sequence[TrainingRow],
    *,
    micro_batch_size: int,
    objective: Objective = _TOKENS,
    own_loss: Callable[[PrefixState], Tensor] | None = None,
    share: float = 1.0,
) -> float:
    """Add the gradient of the mean loss over `rows` to all parameters that require one; return that loss.

    These are the prompt's and, where weights are learned, those of the network. With `share`, the mean counts
    for so much of a batch that other rows belong to.

    A method's own loss is added to both. It looks at the prompt alone, so it is computed once for all rows.

    The prompt runs once. Micro-batches continue from its detached state and leave their gradients there,
    divided by what the objective counts in the whole batch (label tokens, by default), and one backward sends
    the sum through the prompt: the result does not depend on how the rows were cut into micro-batches.
    """
    prefix = model.prefix([prompt])
    leaves = prefix.detached()
    count = objective.count(rows)
    by_length = sorted(rows, key=lambda row: len(row.ids))
    total = 0.0
    for start in range(0, len(by_length), micro_batch_size):
        losses = objective.losses(model, leaves, by_length[start : start + micro_batch_size])
        loss = share * losses.sum() / count
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    if own_loss is not None:
        loss = own_loss(leaves)
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    backward_into(prefix, leaves)
    return total
