"""Multitask prompt tuning on source tasks: what their prompts share is learned from all of them at once."""

from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from tuningfork.models.artefacts import InputPrompt
from tuningfork.tuning.soft.method import Beginning, Kind


class SharedPrompt:
    """Learns `shared` (P, H) for K tasks, and of each `by_token` (P) and `by_feature` (H).

    Source: Wang, Panda, Karlinsky, Feris, Sun, Kim 2023, "Multitask Prompt Tuning Enables Parameter-Efficient
    Transfer Learning", arXiv 2303.02861, section 3: the source stage. The prompt of a task is the shared
    prompt times the product of its vectors, entry by entry. The vectors start at one, so that all tasks begin
    alike. What the target stage starts from is the shared prompt times the product of the mean vectors.
    """

    name: ClassVar[str] = "shared_prompt"
    peft_type: ClassVar[str | None] = None
    kind: ClassVar[Kind] = "input"
    equals_text_at_start: ClassVar[bool] = False

    def __init__(self, num_tasks: int) -> None:
        """Learn from K tasks."""
        self._num_tasks = num_tasks

    def start(self, given: Beginning) -> nn.Module:
        """`shared`, and the vectors of all tasks, `by_token` (K, P) and `by_feature` (K, H); float32."""
        module = nn.Module()
        module.shared = nn.Parameter(given.tokens)
        module.by_token = nn.Parameter(torch.ones(self._num_tasks, given.tokens.shape[0]))
        module.by_feature = nn.Parameter(torch.ones(self._num_tasks, given.tokens.shape[1]))
        return module

    def prompt_of(self, module: nn.Module, task: int) -> InputPrompt:
        """The prompt of the task with this number."""
        by_token, by_feature = cast(Tensor, module.by_token), cast(Tensor, module.by_feature)
        return InputPrompt(cast(Tensor, module.shared) * torch.outer(by_token[task], by_feature[task]))

    def materialize(self, module: nn.Module) -> InputPrompt:
        """What other tasks start from."""
        means = [cast(Tensor, vectors).mean(dim=0) for vectors in (module.by_token, module.by_feature)]
        return InputPrompt(cast(Tensor, module.shared) * torch.outer(*means))
