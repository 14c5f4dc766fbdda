"""Residual prompt tuning: virtual tokens are learned through a small network with a skip connection."""

from typing import ClassVar, cast

from torch import Tensor, nn

from tuningfork.models.artefacts import InputPrompt
from tuningfork.tuning.soft.encoders import Anchored, perceptron
from tuningfork.tuning.soft.method import Beginning, Kind

_BOTTLENECK = 128


class ResidualPromptTuning:
    """Learns `embeddings` (P, H) and a network Φ shared by them; the prompt is embeddings + Φ(embeddings).

    Source: Razdaibiedina, Mao, Hou, Khabsa, Lewis, Ba, Almahairi 2023, "Residual Prompt Tuning: Improving
    Prompt Tuning with Residual Reparameterization", arXiv 2305.03937, section 3: down-projection, ReLU,
    up-projection, layer norm. After training only the sum is kept. Unlike there, what Φ gives at the start is
    taken off, so that step 0 equals the initial tokens.
    """

    name: ClassVar[str] = "residual_prompt_tuning"
    peft_type: ClassVar[str | None] = "PROMPT_TUNING"
    kind: ClassVar[Kind] = "input"
    equals_text_at_start: ClassVar[bool] = True

    def start(self, given: Beginning) -> nn.Module:
        """`embeddings` (P, H) and the network, float32."""
        width = given.tokens.shape[1]
        network = perceptron((width, min(_BOTTLENECK, width), width), nn.ReLU(), given.generator)
        network.append(nn.LayerNorm(width))
        module = nn.Module()
        module.embeddings = nn.Parameter(given.tokens)
        module.residual = Anchored(network, given.tokens)
        return module

    def materialize(self, module: nn.Module) -> InputPrompt:
        """The tokens with their residual folded in."""
        embeddings = cast(Tensor, module.embeddings)
        return InputPrompt(embeddings + cast(nn.Module, module.residual)(embeddings))
