"""The contract of a soft-prompt method."""

from collections.abc import Sequence
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from tuningfork.models.artefacts import SoftPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.types import TrainingRow

Kind = Literal["input", "key-value", "late", "instance"]
"""Input embeddings, keys and values in every layer or in upper ones, or embeddings that depend on the row."""


class SoftMethod(Protocol):
    """Owns trainable state and makes a soft prompt of it.

    To add a method: one file with a class that has these members, one test file, one line in
    `registry.SOFT_METHODS` and one in `defaults.LEARNING_RATES`. No other file names a method.

    A method that learns through a network keeps it in the module, and folds it into what it makes.

    - `start` returns a module whose parameters are float32 and require gradients; nothing of the model is
      among them. With the embeddings of a text, `materialize(start(...))` must act as that text would; of a
      "late" prompt the upper layers must keep what they keep of that text, which the lower ones do not see.
    - `materialize` is differentiable in the module's parameters, has no side effects, and depends on nothing
      else.
    """

    name: ClassVar[str]
    """As in configs and on the command line."""
    peft_type: ClassVar[str | None]
    """The PEFT format that holds what the method makes; None if there is none."""
    kind: ClassVar[Kind]
    """Which artefact `materialize` returns."""

    def start(
        self, model: FrozenModel, tokens: Tensor, generator: torch.Generator, rows: Sequence[TrainingRow]
    ) -> nn.Module:
        """Trainable state that starts from `tokens` (P, H), float32 on the CPU and the method's to keep.

        What is drawn comes from `generator`; `rows` are those to train on. Called by `begin`, which sees to
        all of this.
        """

    def materialize(self, module: nn.Module) -> SoftPrompt:
        """The soft prompt that `module` stands for now."""


def begin(
    method: SoftMethod,
    model: FrozenModel,
    embeddings: Tensor,
    generator: torch.Generator | None = None,
    rows: Sequence[TrainingRow] = (),
) -> nn.Module:
    """Trainable state of `method` on the model's device; `embeddings` (P, H) stay as they are.

    What is drawn comes from `generator`, by default one of seed 0. Methods that look at the rows to train on
    before they learn from them find them in `rows`.
    """
    tokens = embeddings.detach().to("cpu", torch.float32, copy=True)
    drawn = generator or torch.Generator().manual_seed(0)
    return method.start(model, tokens, drawn, rows).to(model.device)
