"""What instruction tuning learns: weights, behind prompts that stay as they are."""

from collections.abc import Sequence
from typing import ClassVar, cast

import torch
from torch import nn

from tuningfork.models.artefacts import AdaptedPrompt, PlacedPrompt, SoftPrompt, UnadaptedPrompt
from tuningfork.tuning.soft.method import Beginning, Kind
from tuningfork.tuning.weights.low_rank import LowRankSettings, start_adapter, update_of
from tuningfork.types import TokenIds


def words(ids: TokenIds, hidden_size: int) -> PlacedPrompt:
    """The words `ids` in front, without virtual tokens."""
    return PlacedPrompt(torch.zeros(0, hidden_size), tuple(ids))


class LowRankWeights:
    """Learns one low-rank update for the rows of all tasks, each behind its own prompt.

    Source: Hu et al. 2021, arXiv 2106.09685, section 4; see `WithLowRank`.
    """

    name: ClassVar[str] = "instructed+lora"
    peft_type: ClassVar[str | None] = None
    kind: ClassVar[Kind] = "placed"
    equals_text_at_start: ClassVar[bool] = True

    def __init__(self, prompts: Sequence[UnadaptedPrompt], settings: LowRankSettings) -> None:
        """Learn behind `prompts`, one for each task."""
        self._prompts = prompts
        self._settings = settings

    def start(self, given: Beginning) -> nn.Module:
        """The adapter."""
        return start_adapter(given.model, self._settings, given.generator)

    def prompt_of(self, module: nn.Module, task: int) -> AdaptedPrompt:
        """The prompt of the task with this number, and the update."""
        return AdaptedPrompt(self._prompts[task], update_of(module, self._settings))

    def materialize(self, module: nn.Module) -> AdaptedPrompt:
        """The prompt of the first task, and the update."""
        return self.prompt_of(module, 0)


class AllWeights:
    """Learns every weight of the network itself, which must be a copy that nobody else uses.

    Source: Wei et al. 2021, "Finetuned Language Models Are Zero-Shot Learners", arXiv 2109.01652, section 2:
    all weights are tuned on many tasks described by instructions. There tens of thousands of steps, here as
    few as the rows need.
    """

    name: ClassVar[str] = "instructed"
    peft_type: ClassVar[str | None] = None
    kind: ClassVar[Kind] = "placed"
    equals_text_at_start: ClassVar[bool] = True

    def __init__(self, prompts: Sequence[UnadaptedPrompt]) -> None:
        """Learn behind `prompts`, one for each task."""
        self._prompts = prompts

    def start(self, given: Beginning) -> nn.Module:
        """The network, with gradients."""
        module = nn.Module()
        module.network = cast(nn.Module, given.model.network).requires_grad_(True)
        return module

    def prompt_of(self, module: nn.Module, task: int) -> SoftPrompt:
        """The prompt of the task with this number."""
        return self._prompts[task]

    def materialize(self, module: nn.Module) -> SoftPrompt:
        """The prompt of the first task."""
        return self._prompts[0]
