"""The contract of a soft-prompt method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from tuningfork.errors import PromptError
from tuningfork.models.artefacts import SoftPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.parts import PromptParts
from tuningfork.models.prefix import PrefixState
from tuningfork.types import TrainingRow

Kind = Literal["input", "offset", "key-value", "late", "headed", "instance", "placed", "two-sided"]
"""What it changes: embeddings in front, and of the row by position; keys and values in every layer, in upper
ones, or with a head that reads labels; embeddings of the row by what it says; embeddings in front and in the
row; what an encoder and a decoder are given."""


KINDS_WITH_OWN_FORWARDS: frozenset[Kind] = frozenset({"late", "headed", "instance"})
"""Those whose rows cannot be run in one forward with rows behind other prompts."""


@dataclass(frozen=True, slots=True, eq=False)
class Beginning:
    """What a method starts from."""

    model: FrozenModel
    tokens: Tensor
    """(P, H), float32 on the CPU and the method's to keep."""
    generator: torch.Generator
    """What is drawn comes from here."""
    rows: Sequence[TrainingRow]
    """Those to train on."""
    num_labels: int | None
    """How many labels are to be told apart; None if the method is to learn to say tokens."""
    room: int | None
    """Tokens that the prompt may have in front of every row; None if that is not known."""


class SoftMethod(Protocol):
    """Owns trainable state and makes a soft prompt of it.

    To add a method: one file with a class that has these members, one test file, one line in
    `registry.SOFT_METHODS` and one in `defaults.LEARNING_RATES`. No other file names a method. Reports
    call it by its name with spaces, or by its own title (`HasTitle`).

    A method that learns through a network keeps it in the module, and folds it into what it makes. One whose
    parameters learn at different rates says so by `HasRateFactors`.

    - `start` returns a module whose parameters are float32 and require gradients; nothing of the model is
      among them. With the embeddings of a text, `materialize(start(...))` must act as that text would (or, if
      the method shows rows and is given some, as the text with these rows behind it), unless the method says
      that it does not (`equals_text_at_start`).
    - `materialize` is differentiable in the module's parameters, has no side effects, and depends on nothing
      else.
    """

    @property
    def name(self) -> str:
        """As in configs and on the command line."""

    peft_type: ClassVar[str | None]
    """The PEFT format that holds what the method makes; None if there is none."""

    @property
    def kind(self) -> Kind:
        """What the prompts that it makes change; those of kind "input" and "offset" fit every model."""

    @property
    def equals_text_at_start(self) -> bool:
        """Whether a row is answered at the start as it is behind the text that the tokens come from."""

    def start(self, given: Beginning) -> nn.Module:
        """Trainable state that starts from what is given; called by `begin`."""

    def materialize(self, module: nn.Module) -> SoftPrompt:
        """The soft prompt that `module` stands for now."""


@runtime_checkable
class HasTitle(Protocol):
    """A method that its paper does not write as its name with spaces, such as an acronym."""

    title: ClassVar[str]
    """As reports write it."""


def title_of(method: SoftMethod) -> str:
    """What reports call `method`."""
    return method.title if isinstance(method, HasTitle) else method.name.replace("_", " ")


@runtime_checkable
class HasRateFactors(Protocol):
    """A method some of whose parameters learn faster or slower than the learning rate says."""

    @property
    def rate_factors(self) -> Mapping[str, float]:
        """How many times the learning rate a parameter learns at, by its name in the module; else 1.

        The name of a part of the module stands for all parameters in it.
        """


@runtime_checkable
class ShowsRows(Protocol):
    """A method whose prompt holds some of the training rows with their answers.

    Each of them would find its own answer in the prompt, so none is trained on as a row.
    """

    def shown_rows(self, module: nn.Module) -> Sequence[int]:
        """Indices of the rows that stand in the prompt behind the text, in order."""


@runtime_checkable
class AddsLoss(Protocol):
    """A method with a loss that does not depend on the rows of a step."""

    def own_loss(self, model: FrozenModel, module: nn.Module, prefix: PrefixState) -> Tensor:
        """What is added to the mean loss of the rows, a scalar, differentiable in the tensors of `prefix`.

        `prefix` is the prompt after it was read, detached: gradients join those of the rows there.
        """


@runtime_checkable
class HasParts(Protocol):
    """A method whose prompt is made of parts that formats outside keep apart."""

    def parts(self, model: FrozenModel, module: nn.Module) -> PromptParts:
        """What the prompt that `module` stands for now is made of, detached."""


@runtime_checkable
class Constrained(Protocol):
    """A method whose parameters must stay within bounds."""

    def constrain(self, module: nn.Module) -> None:
        """Bring the parameters back within bounds, in place; called after every optimizer step."""


def begin(
    method: SoftMethod,
    model: FrozenModel,
    embeddings: Tensor,
    generator: torch.Generator | None = None,
    rows: Sequence[TrainingRow] = (),
    *,
    num_labels: int | None = None,
    room: int | None = None,
) -> nn.Module:
    """Trainable state of `method` on the model's device; `embeddings` (P, H) stay as they are.

    What is drawn comes from `generator`, by default one of seed 0. Methods that look at the rows to train on
    before they learn from them find them in `rows`; `num_labels` is how many labels are to be told apart, and
    `room` how many tokens the prompt may have.

    Raises:
        PromptError: if the method cannot be used with this model, or lacks what it needs.
    """
    if model.support.path == "encoder":
        _check_encoder(method, model)
    tokens = embeddings.detach().to("cpu", torch.float32, copy=True)
    drawn = generator or torch.Generator().manual_seed(0)
    return method.start(Beginning(model, tokens, drawn, rows, num_labels, room)).to(model.device)


def _check_encoder(method: SoftMethod, model: FrozenModel) -> None:
    """Check that an encoder can take what `method` makes."""
    needs_order = method.kind in ("instance", "late") or isinstance(method, ShowsRows | AddsLoss)
    if needs_order:
        raise PromptError(
            f"{method.name} is not possible with {model.name}: it needs a model that reads from left to "
            f"right, and {model.support.reason}; use prompt tuning"
        )
    if method.kind != "headed" and not model.says_words:
        raise PromptError(
            f"{model.name} says no words ({model.support.reason}): tune a prompt with a head (--head), or "
            "use a model with a masked-LM head"
        )
