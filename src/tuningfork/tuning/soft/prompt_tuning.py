"""Prompt tuning: the embeddings of virtual tokens are learned directly."""

from typing import ClassVar, cast

from torch import Tensor, nn

from tuningfork.models.artefacts import InputPrompt
from tuningfork.tuning.soft.method import Beginning, Kind


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

    def start(self, given: Beginning) -> nn.Module:
        """One parameter, `embeddings` (P, H), float32."""
        module = nn.Module()
        module.embeddings = nn.Parameter(given.tokens)
        return module

    def materialize(self, module: nn.Module) -> InputPrompt:
        """The embeddings as they are."""
        return InputPrompt(cast(Tensor, module.embeddings))
