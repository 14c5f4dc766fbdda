"""Virtual tokens in front of the decoder of an encoder-decoder model."""

from collections.abc import Mapping
from typing import ClassVar

from torch import nn

from tuningfork.errors import PromptError
from tuningfork.models.artefacts import (
    EncoderDecoderPrompt,
    HeadedPrefix,
    InputPrompt,
    KeyValuePrefix,
    PlacedPrompt,
)
from tuningfork.tuning.soft.method import Beginning, HasRateFactors, Kind, ShowsRows, SoftMethod
from tuningfork.types import TokenIds

_ANY_SIDE: tuple[Kind, ...] = ("input",)
_DECODER_SIDE: tuple[Kind, ...] = ("key-value", "headed")


def stands_at_decoder(method: SoftMethod) -> bool:
    """Whether the place of what `method` makes is in front of a decoder, where a model has one apart."""
    return method.kind in _DECODER_SIDE


class InFrontOfDecoder:
    """A method whose prompt the decoder is given before its start token, behind words for the encoder.

    Virtual tokens at the input are given to the decoder as tokens, or else its first ones to the encoder, as
    many as `prefix_ids` have places for. Keys and values are seen by the self-attention of every layer of the
    decoder; they depend on no row, so all rows share them.

    Prefix tuning was first shown on BART (Li, Liang 2021, "Prefix-Tuning: Optimizing Continuous Prompts for
    Generation", arXiv 2101.00190, section 4.2), with a prefix on both sides. Here what the encoder reads are
    the words of the text prompt. The start is not the text prompt: the decoder sees more than its words.
    """

    peft_type: ClassVar[str | None] = None
    kind: ClassVar[Kind] = "two-sided"
    equals_text_at_start: ClassVar[bool] = False

    def __init__(self, method: SoftMethod, prefix_ids: TokenIds) -> None:
        """Give the decoder what `method` makes, and the encoder `prefix_ids`.

        Raises:
            PromptError: if it makes nothing that a decoder can be given, or nothing that can be divided.
        """
        if method.kind not in (*_ANY_SIDE, *_DECODER_SIDE) or isinstance(method, ShowsRows):
            raise PromptError(
                f"{method.name} has no virtual tokens that could stand in front of a decoder; "
                "choose --placement front, or another method"
            )
        self._num_encoder_tokens = -min(0, min(prefix_ids, default=0))
        if self._num_encoder_tokens and method.kind in _DECODER_SIDE:
            raise PromptError(f"{method.name} is for the decoder alone; choose --placement decoder")
        self._method = method
        self._prefix_ids = tuple(prefix_ids)
        self.name = method.name

    @property
    def rate_factors(self) -> Mapping[str, float]:
        """Those of the method itself."""
        return self._method.rate_factors if isinstance(self._method, HasRateFactors) else {}

    def start(self, given: Beginning) -> nn.Module:
        """What the method itself learns.

        Raises:
            PromptError: if the model has no decoder apart, or what the method's own start says.
        """
        if not given.model.is_encoder_decoder:
            raise PromptError(
                f"{given.model.name} is no encoder-decoder model, and has no decoder apart; choose another "
                "--placement"
            )
        return self._method.start(given)

    def materialize(self, module: nn.Module) -> EncoderDecoderPrompt:
        """What the method makes, in front of the decoder or of both sides."""
        made, count = self._method.materialize(module), self._num_encoder_tokens
        assert isinstance(made, InputPrompt | KeyValuePrefix | HeadedPrefix)
        if not count or not isinstance(made, InputPrompt):
            return EncoderDecoderPrompt(self._prefix_ids, made)
        encoder = PlacedPrompt(made.embeddings[:count], self._prefix_ids)
        return EncoderDecoderPrompt(encoder, InputPrompt(made.embeddings[count:]))
