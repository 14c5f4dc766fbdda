"""P-tuning: virtual tokens are learned through a prompt encoder that relates them to each other."""

from typing import ClassVar, cast

from torch import nn

from tuningfork.models.artefacts import InputPrompt
from tuningfork.tuning.soft.encoders import BidirectionalLSTM, EncodedTokens
from tuningfork.tuning.soft.method import Beginning, Kind


class PTuning:
    """Learns `embeddings` (P, H) and an encoder that sees all of them.

    Source: Liu, Zheng, Du, Ding, Qian, Yang, Tang 2021, "GPT Understands, Too", arXiv 2103.10385, section
    3.2: a bidirectional LSTM and a perceptron of two layers with ReLU. Unlike there, virtual tokens stand in
    front only, and the encoder's change since the start is added to the initial tokens, so that step 0 equals
    them. The encoder is not kept after training.
    """

    name: ClassVar[str] = "p_tuning"
    title: ClassVar[str] = "P-tuning"
    peft_type: ClassVar[str | None] = "P_TUNING"
    kind: ClassVar[Kind] = "input"
    equals_text_at_start: ClassVar[bool] = True

    def start(self, given: Beginning) -> nn.Module:
        """`embeddings` (P, H), the encoder, and the tokens that it started from, float32."""
        return EncodedTokens(given.tokens, BidirectionalLSTM(given.tokens.shape[1], given.generator))

    def materialize(self, module: nn.Module) -> InputPrompt:
        """The initial tokens, moved by as much as their encoding has moved."""
        return cast(InputPrompt, module())
