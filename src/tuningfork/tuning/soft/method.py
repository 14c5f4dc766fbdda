"""The contract of a soft-prompt method."""

from collections.abc import Sequence
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from tuningfork.models.artefacts import SoftPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.types import TrainingRow

Kind = Literal["input", "key-value", "instance", "headed"]
"""Input embeddings, keys and values, embeddings that depend on the row, or keys and values with a head."""


class SoftMethod(Protocol):
    """Owns trainable state and makes a soft prompt of it.

    To add a method: one file with a class that has these members, one test file, one line in
    `registry.SOFT_METHODS` and one in `defaults.LEARNING_RATES`. No other file names a method.

    A method that learns through a network keeps it in the module, and folds it into what it makes.

    - `start` returns a module whose parameters are float32 and require gradients; nothing of the model is
      among them. With the embeddings of a text, `materialize(start(...))` must act as that text would, unless
      the method says that it does not (`equals_text_at_start`).
    - `materialize` is differentiable in the module's parameters, has no side effects, and depends on nothing
      else.
    """

    name: ClassVar[str]
    """As in configs and on the command line."""
    peft_type: ClassVar[str | None]
    """The PEFT format that holds what the method makes; None if there is none."""
    kind: ClassVar[Kind]
    """Which artefact `materialize` returns."""
    equals_text_at_start: ClassVar[bool]
    """Whether a row is answered at the start as it is behind the text that the tokens come from."""

    def start(
        self,
        model: FrozenModel,
        tokens: Tensor,
        generator: torch.Generator,
        rows: Sequence[TrainingRow],
        num_labels: int | None,
    ) -> nn.Module:
        """Trainable state that starts from `tokens` (P, H), float32 on the CPU and the method's to keep.

        What is drawn comes from `generator`; `rows` are those to train on; `num_labels` is how many labels
        these are told apart by, those that none of them has included, or None where tokens are learned.
        Called by `begin`, which sees to all of this.
        """

    def materialize(self, module: nn.Module) -> SoftPrompt:
        """The soft prompt that `module` stands for now."""


def begin(
    method: SoftMethod,
    model: FrozenModel,
    embeddings: Tensor,
    generator: torch.Generator | None = None,
    rows: Sequence[TrainingRow] = (),
    *,
    num_labels: int | None = None,
) -> nn.Module:
    """Trainable state of `method` on the model's device; `embeddings` (P, H) stay as they are.

    What is drawn comes from `generator`, by default one of seed 0. Methods that look at the rows to train on
    before they learn from them find them in `rows`; `num_labels` is how many labels are to be told apart.
    """
    tokens = embeddings.detach().to("cpu", torch.float32, copy=True)
    drawn = generator or torch.Generator().manual_seed(0)
    return method.start(model, tokens, drawn, rows, num_labels).to(model.device)
