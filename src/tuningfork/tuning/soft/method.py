"""The contract of a soft-prompt method."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from tuningfork.models.artefacts import SoftPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.types import TrainingRow

Kind = Literal["input", "offset", "key-value", "instance", "placed"]
"""What it changes: embeddings in front, and of the row by position; keys and values; embeddings of the row by
what it says; embeddings in front and in the row."""


class SoftMethod(Protocol):
    """Owns trainable state and makes a soft prompt of it.

    To add a method: one file with a class that has these members, one test file, one line in
    `registry.SOFT_METHODS` and one in `defaults.LEARNING_RATES`. No other file names a method.

    A method that learns through a network keeps it in the module, and folds it into what it makes. One whose
    parameters learn at different rates says so by `HasRateFactors`.

    - `start` returns a module whose parameters are float32 and require gradients; nothing of the model is
      among them. With the embeddings of a text, `materialize(start(...))` must act as that text would.
    - `materialize` is differentiable in the module's parameters, has no side effects, and depends on nothing
      else.
    """

    @property
    def name(self) -> str:
        """As in configs and on the command line."""

    peft_type: ClassVar[str | None]
    """The PEFT format that holds what the method makes; None if there is none."""
    kind: ClassVar[Kind]
    """What the prompts that it makes change; those of kind "input" and "offset" fit every model."""

    def start(
        self, model: FrozenModel, tokens: Tensor, generator: torch.Generator, rows: Sequence[TrainingRow]
    ) -> nn.Module:
        """Trainable state that starts from `tokens` (P, H), float32 on the CPU and the method's to keep.

        What is drawn comes from `generator`; `rows` are those to train on. Called by `begin`, which sees to
        all of this.
        """

    def materialize(self, module: nn.Module) -> SoftPrompt:
        """The soft prompt that `module` stands for now."""


@runtime_checkable
class HasRateFactors(Protocol):
    """A method some of whose parameters learn faster or slower than the learning rate says."""

    @property
    def rate_factors(self) -> Mapping[str, float]:
        """How many times the learning rate a parameter learns at, by its name in the module; else 1."""


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
