"""Prompt tuning: the embeddings of virtual tokens are learned directly."""

from collections.abc import Sequence
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from tuningfork.models.artefacts import InputPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.tuning.soft.method import Kind
from tuningfork.types import TrainingRow


class PromptTuning:
    """Learns `embeddings` (P, H) that stand in front of the input.

    Source: Lester, Al-Rfou, Constant 2021, "The Power of Scale for Parameter-Efficient Prompt Tuning",
    arXiv 2104.08691, section 2. The paper learns with Adafactor at a rate of 0.3 on T5; here AdamW is used,
    and the prompt starts from the task's text.
    """

    name: ClassVar[str] = "prompt_tuning"
    peft_type: ClassVar[str | None] = "PROMPT_TUNING"
    kind: ClassVar[Kind] = "input"
    equals_text_at_start: ClassVar[bool] = True

    def start(
        self,
        model: FrozenModel,
        tokens: Tensor,
        generator: torch.Generator,
        rows: Sequence[TrainingRow],
        num_labels: int | None,
    ) -> nn.Module:
        """One parameter, `embeddings` (P, H), float32."""
        module = nn.Module()
        module.embeddings = nn.Parameter(tokens)
        return module

    def materialize(self, module: nn.Module) -> InputPrompt:
        """The embeddings as they are."""
        return InputPrompt(cast(Tensor, module.embeddings))
