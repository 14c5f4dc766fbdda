"""LoRA beside a soft prompt, or alone: low-rank changes of linear layers, learned in the same loop."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from tuningfork.errors import PromptError
from tuningfork.models.artefacts import AdaptedPrompt, PlacedPrompt, UnadaptedPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.low_rank import LowRankUpdate
from tuningfork.models.prefix import PrefixState
from tuningfork.tuning.soft.method import (
    AddsLoss,
    Beginning,
    Constrained,
    HasRateFactors,
    Kind,
    ShowsRows,
    SoftMethod,
)
from tuningfork.types import TokenIds

_PROMPT, _ADAPTER = "prompt", "adapter"


@dataclass(frozen=True, slots=True)
class LowRankSettings:
    """What LoRA learns, and how fast."""

    rank: int
    """R."""
    alpha: float
    """The update is scaled by alpha / R."""
    learning_rate: float
    """Peak learning rate of the adapter."""
    targets: tuple[str, ...] = ()
    """Names of the layers to change, or ends of their names; empty changes every linear layer."""


def start_adapter(model: FrozenModel, settings: LowRankSettings, generator: torch.Generator) -> nn.Module:
    """`down` (R, I), drawn, and `up` (O, R), zero, of every layer that is changed; float32.

    Raises:
        PromptError: if the settings name no layer that can be changed.
    """
    # Only now: PEFT takes seconds to load, and prompts alone do not need it.
    from tuningfork.tuning.weights.linear_layers import linear_layers

    module = nn.Module()
    module.down, module.up = nn.ParameterDict(), nn.ParameterDict()
    for name, (width, read) in linear_layers(model.network, settings.targets).items():
        # As `nn.Linear` draws its weights, which LoRA's reference implementation takes over.
        bound = 1 / math.sqrt(read)
        drawn = torch.empty(settings.rank, read).uniform_(-bound, bound, generator=generator)
        module.down[_key(name)] = nn.Parameter(drawn)
        module.up[_key(name)] = nn.Parameter(torch.zeros(width, settings.rank))
    return module


def update_of(adapter: nn.Module, settings: LowRankSettings) -> LowRankUpdate:
    """The update that the module of `start_adapter` stands for now."""
    down, up = cast(nn.ParameterDict, adapter.down), cast(nn.ParameterDict, adapter.up)
    pairs = {key.replace("/", "."): (down[key], up[key]) for key in down}
    return LowRankUpdate(pairs, settings.alpha / settings.rank)


class WordsAlone:
    """Learns nothing of its own: the words `ids` in front, as they are."""

    name: ClassVar[str] = "words"
    peft_type: ClassVar[str | None] = None
    kind: ClassVar[Kind] = "placed"
    equals_text_at_start: ClassVar[bool] = True

    def __init__(self, ids: TokenIds) -> None:
        self._ids = tuple(ids)

    def start(self, given: Beginning) -> nn.Module:
        """No parameters."""
        module = nn.Module()
        module.register_buffer("none", given.tokens[:0])
        return module

    def materialize(self, module: nn.Module) -> PlacedPrompt:
        """The words, without any virtual token."""
        return PlacedPrompt(cast(Tensor, module.none), self._ids)


class WithLowRank:
    """A soft-prompt method together with LoRA, each with a learning rate of its own.

    Source: Hu, Shen, Wallis, Allen-Zhu, Li, Wang, Wang, Chen 2021, "LoRA: Low-Rank Adaptation of Large
    Language Models", arXiv 2106.09685, section 4: a linear layer is changed by alpha / R * B A, with A drawn
    and B zero at the start; section 4.2 leaves out dropout, as is done here. There the query and value
    projections are changed; here, if no layers are named, every linear layer is, as later work found better
    (Dettmers et al. 2023, arXiv 2305.14314, section 4). The prompt is read by the changed network, so what is
    learned of the prompt and of the weights fits together.
    """

    peft_type: ClassVar[str | None] = None

    def __init__(self, method: SoftMethod, settings: LowRankSettings, *, learning_rate: float) -> None:
        """Learn the prompt of `method` at `learning_rate`, and the adapter at that of `settings`."""
        self.method = method
        self.settings = settings
        self._factor = settings.learning_rate / learning_rate
        self.name = "lora" if isinstance(method, WordsAlone) else f"{method.name}+lora"

    @property
    def kind(self) -> Kind:
        """That of the prompt."""
        return self.method.kind

    @property
    def equals_text_at_start(self) -> bool:
        """Whether the prompt does; the adapter changes nothing at the start."""
        return self.method.equals_text_at_start

    @property
    def rate_factors(self) -> Mapping[str, float]:
        """Those of the method itself, and that of the adapter."""
        own = self.method.rate_factors if isinstance(self.method, HasRateFactors) else {}
        return {f"{_PROMPT}.{name}": factor for name, factor in own.items()} | {_ADAPTER: self._factor}

    def start(self, given: Beginning) -> nn.Module:
        """The state of the method, and the adapter."""
        module = nn.Module()
        module.prompt = self.method.start(given)
        module.adapter = start_adapter(given.model, self.settings, given.generator)
        return module

    def materialize(self, module: nn.Module) -> AdaptedPrompt:
        """The prompt of the method with the update of the adapter."""
        prompt = cast(UnadaptedPrompt, self.method.materialize(cast(nn.Module, module.prompt)))
        return AdaptedPrompt(prompt, update_of(cast(nn.Module, module.adapter), self.settings))


@runtime_checkable
class _ShowingMethod(SoftMethod, ShowsRows, AddsLoss, Constrained, Protocol):
    pass


class ShowingWithLowRank(WithLowRank):
    """`WithLowRank` of a method that shows rows, and has a loss and bounds of its own."""

    method: _ShowingMethod

    def shown_rows(self, module: nn.Module) -> Sequence[int]:
        """Those of the method."""
        return self.method.shown_rows(cast(nn.Module, module.prompt))

    def own_loss(self, model: FrozenModel, module: nn.Module, prefix: PrefixState) -> Tensor:
        """That of the method."""
        return self.method.own_loss(model, cast(nn.Module, module.prompt), prefix)

    def constrain(self, module: nn.Module) -> None:
        """Bring the prompt back within its bounds."""
        self.method.constrain(cast(nn.Module, module.prompt))


def with_low_rank(method: SoftMethod, settings: LowRankSettings, *, learning_rate: float) -> WithLowRank:
    """`method`, learning at `learning_rate`, together with LoRA.

    Raises:
        PromptError: if the method does more than LoRA leaves room for.
    """
    if isinstance(method, _ShowingMethod):
        return ShowingWithLowRank(method, settings, learning_rate=learning_rate)
    if isinstance(method, ShowsRows | AddsLoss | Constrained):
        raise PromptError(f"{method.name} cannot be learned together with LoRA; choose another method")
    return WithLowRank(method, settings, learning_rate=learning_rate)


def _key(name: str) -> str:
    """The name of a layer as a module may call a parameter, without dots."""
    return name.replace(".", "/")
