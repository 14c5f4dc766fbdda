"""Multitask prompt tuning: a shared prompt, scaled entry by entry by a product of two vectors."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from tuningfork.models.artefacts import InputPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.parts import TaskProduct
from tuningfork.tuning.soft.method import Beginning, Kind


class MultitaskPromptTuning:
    """Learns `shared` (P, H) and the vectors `by_token` (P) and `by_feature` (H) of one task.

    Source: Wang, Panda, Karlinsky, Feris, Sun, Kim 2023, "Multitask Prompt Tuning Enables Parameter-Efficient
    Transfer Learning", arXiv 2303.02861, section 3: the prompt of a task is the shared prompt times a matrix
    of rank one, entry by entry, and on the target task the vectors learn at 0.4 where the shared prompt
    learns at 0.3. This is the target stage alone. The shared prompt is what the start is, be it a text, the
    prompt of another task, or what `SharedPrompt` made of many in the source stage; that has the mean of
    their vectors folded in, so the vectors start at one.
    """

    name: ClassVar[str] = "multitask_prompt_tuning"
    peft_type: ClassVar[str | None] = "MULTITASK_PROMPT_TUNING"
    kind: ClassVar[Kind] = "input"
    equals_text_at_start: ClassVar[bool] = True
    rate_factors: ClassVar[Mapping[str, float]] = MappingProxyType({"by_token": 4 / 3, "by_feature": 4 / 3})

    def start(self, given: Beginning) -> nn.Module:
        """`shared` and the two vectors, float32."""
        module = nn.Module()
        module.shared = nn.Parameter(given.tokens)
        module.by_token = nn.Parameter(torch.ones(given.tokens.shape[0]))
        module.by_feature = nn.Parameter(torch.ones(given.tokens.shape[1]))
        return module

    def materialize(self, module: nn.Module) -> InputPrompt:
        """The shared prompt with the product of the vectors folded in."""
        scale = torch.outer(cast(Tensor, module.by_token), cast(Tensor, module.by_feature))
        return InputPrompt(cast(Tensor, module.shared) * scale)

    def parts(self, model: FrozenModel, module: nn.Module) -> TaskProduct:
        """The shared prompt and the two vectors, as factors of rank one."""
        shared, by_token, by_feature = (
            cast(Tensor, getattr(module, name)).detach().clone()
            for name in ("shared", "by_token", "by_feature")
        )
        return TaskProduct(shared, by_token[:, None], by_feature[None])
