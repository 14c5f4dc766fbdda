"""P-tuning with a perceptron as prompt encoder: each virtual token is encoded on its own."""

from typing import ClassVar, cast

from torch import nn

from tuningfork.models.artefacts import InputPrompt
from tuningfork.tuning.soft.encoders import EncodedTokens, perceptron
from tuningfork.tuning.soft.method import Beginning, Kind


class PTuningMLP:
    """Learns `embeddings` (P, H) and a perceptron of three layers with ReLU, shared by the tokens.

    Source: Liu, Zheng, Du, Ding, Qian, Yang, Tang 2021, "GPT Understands, Too", arXiv 2103.10385, section
    3.2, which names a perceptron beside the LSTM; three layers of one width are what NeMo and PEFT made
    usual. Step 0 equals the initial tokens, as with the LSTM.
    """

    name: ClassVar[str] = "p_tuning_mlp"
    title: ClassVar[str] = "P-tuning (MLP)"
    peft_type: ClassVar[str | None] = "P_TUNING"
    kind: ClassVar[Kind] = "input"
    equals_text_at_start: ClassVar[bool] = True

    def start(self, given: Beginning) -> nn.Module:
        """`embeddings` (P, H), the perceptron, and the tokens that it started from, float32."""
        width = given.tokens.shape[1]
        return EncodedTokens(
            given.tokens, perceptron((width, width, width, width), nn.ReLU(), given.generator)
        )

    def materialize(self, module: nn.Module) -> InputPrompt:
        """The initial tokens, moved by as much as their encoding has moved."""
        return cast(InputPrompt, module())
