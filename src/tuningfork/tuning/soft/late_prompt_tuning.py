"""Late prompt tuning: virtual tokens enter halfway up the model instead of at its input."""

from typing import ClassVar, cast

from torch import Tensor, nn

from tuningfork.models.artefacts import KeyValuePrefix
from tuningfork.models.frozen import FrozenModel
from tuningfork.tuning.soft.method import Beginning, Kind

_DEPTH = 0.5
"""The share of the layers below the prompt: the paper finds those in the middle best."""


class LatePromptTuning:
    """Learns hidden states (P, H) that enter at the layer in the middle; those below do not see them.

    Source: Liu, Sun, Huang, Qiu 2022, "Late Prompt Tuning: A Late Prompt Could Be Better Than Many Prompts",
    arXiv 2210.11292, section 3: the loss is nearer to what is learned, and gradients end where the tokens
    enter. This is the version without a prompt generator; the one with it makes each row's prompt from the
    hidden states of the row, as an instance prompt does here. Unlike there, the tokens start from the states
    that the text prompt has at that layer. So the upper layers start with the text's keys and values, but
    step 0 is not the text prompt, because the layers below read each row without it. Rows stand behind the
    tokens, from position P on, in all layers.
    """

    name: ClassVar[str] = "late_prompt_tuning"
    peft_type: ClassVar[str | None] = None
    kind: ClassVar[Kind] = "late"
    equals_text_at_start: ClassVar[bool] = False

    def start(self, given: Beginning) -> nn.Module:
        """`states` (P, H), float32.

        Raises:
            PromptError: if virtual tokens cannot enter above the first layer of the model.
        """
        return LateTokens(given.model, given.tokens)

    def materialize(self, module: nn.Module) -> KeyValuePrefix:
        """The keys and values that the upper layers keep of the states; None for those below."""
        return cast(KeyValuePrefix, module())


class LateTokens(nn.Module):
    """What virtual tokens are halfway up `model`, which is no part of what is learned."""

    def __init__(self, model: FrozenModel, tokens: Tensor) -> None:
        super().__init__()
        self._model = model
        self._layer = int(_DEPTH * len(model.prefix([[0]]).layers))
        self.states = nn.Parameter(model.states_before(self._layer, tokens))

    def forward(self) -> KeyValuePrefix:
        """The prompt as it is now."""
        return self._model.enter(self._layer, self.states)
