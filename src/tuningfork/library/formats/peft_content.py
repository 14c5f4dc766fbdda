"""What PEFT holds of a prompt: as which types, for which kind of model, or why nothing."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from transformers import PretrainedConfig

from tuningfork.errors import FormatError
from tuningfork.library.formats.peft_config import AT_INPUT, HEADED_TASK, KEY_VALUE, MULTITASK
from tuningfork.library.formats.peft_tasks import NEVER_RUN, NO_HEADS
from tuningfork.library.formats.sides import sides_of
from tuningfork.models.architecture import Architecture, architecture_of
from tuningfork.models.artefacts import (
    AdaptedPrompt,
    DecomposedPrompt,
    EncoderDecoderPrompt,
    HeadedPrefix,
    HeadedPrompt,
    InputPrompt,
    InstancePrompt,
    KeyValuePrefix,
    PlacedPrompt,
    SoftPrompt,
)

_OFFER_WORDS = "tune one that says its labels, without --head, to export it"
_WITHOUT_FORMAT: Mapping[type, str] = {
    **dict.fromkeys(
        (InstancePrompt, DecomposedPrompt),
        "this prompt changes the tokens of each row, and PEFT has no format for such prompts; "
        "tune one that does not (--method) to export it",
    ),
    AdaptedPrompt: "this prompt has an adapter, which has a PEFT folder of its own; export both apart",
    HeadedPrompt: "this prompt has a head behind virtual tokens at the input, which is not written yet; "
    + _OFFER_WORDS,
    PlacedPrompt: "this prompt has virtual tokens among the words, and PEFT knows only those in front; "
    "tune one with --placement front to export it",
}
"""Why there is no PEFT folder for a kind of prompt."""
_WORDS_AND_TOKENS = (
    "this prompt has virtual tokens in front of a decoder, with words before its encoder, and PEFT keeps no "
    "words; tune one with --placement front to export it"
)


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """A prompt as PEFT holds it."""

    prompt: InputPrompt | KeyValuePrefix | HeadedPrefix
    """With as many virtual tokens for each side, those of the encoder first, where there are two."""
    architecture: Architecture
    num_sides: int = 1
    """2 where virtual tokens at the input are divided between an encoder and a decoder."""

    @property
    def num_virtual_tokens(self) -> int:
        """How many there are for each side."""
        return self.prompt.num_virtual_tokens // self.num_sides

    @property
    def types(self) -> tuple[str, ...]:
        """PEFT's types that hold it, the one it is written as first."""
        if self.num_sides == 2:
            return (MULTITASK,)
        possible = AT_INPUT if isinstance(self.prompt, InputPrompt) else KEY_VALUE
        return tuple(kind for kind in possible if (self.architecture, kind) not in NEVER_RUN)

    def checked_type(self, peft_type: str | None) -> str:
        """Return `peft_type`, or the plainest that holds the prompt.

        Raises:
            FormatError: if it does not hold it.
        """
        kind = peft_type or self.types[0]
        if reason := NEVER_RUN.get((self.architecture, kind)):
            raise FormatError(f"PEFT's {kind} is not written for this model: {reason}")
        if kind not in self.types:
            raise FormatError(f"PEFT's {kind} does not hold this prompt; it can be {' or '.join(self.types)}")
        return kind


def content_of(artefact: SoftPrompt, config: PretrainedConfig) -> Content:
    """Return what PEFT holds of `artefact` for the model of `config`.

    Of keys and values in front of a decoder, the words for its encoder are left to who feeds it.

    Raises:
        FormatError: if PEFT has no format for it, or what PEFT makes of that format is something else.
    """
    architecture = architecture_of(config)
    if isinstance(artefact, EncoderDecoderPrompt):
        return _of_two_sides(artefact)
    if architecture != "decoder" and isinstance(artefact, HeadedPrefix | HeadedPrompt):
        raise _without_head(architecture)
    if not isinstance(artefact, InputPrompt | KeyValuePrefix | HeadedPrefix):
        raise FormatError(_WITHOUT_FORMAT[type(artefact)])
    return Content(artefact, architecture)


def _without_head(architecture: Architecture) -> FormatError:
    return FormatError(
        f"this prompt has a head, and PEFT saves those of {HEADED_TASK}: {NO_HEADS[architecture]}; "
        f"{_OFFER_WORDS}"
    )


def _of_two_sides(artefact: EncoderDecoderPrompt) -> Content:
    encoder, decoder = artefact.encoder, artefact.decoder
    if isinstance(decoder, HeadedPrefix):
        raise _without_head("encoder-decoder")
    if isinstance(decoder, KeyValuePrefix):
        if isinstance(encoder, PlacedPrompt):
            raise FormatError(
                "this prompt has virtual tokens before an encoder, and keys and values in front of its "
                "decoder; PEFT holds one of the two: tune one with --placement front or decoder to export it"
            )
        return Content(decoder, "encoder-decoder")
    if (sides := sides_of(artefact)) is None:
        raise FormatError(_WORDS_AND_TOKENS)
    counts = [len(side) for side in sides]
    if counts[0] != counts[1]:
        raise FormatError(
            f"this prompt has {counts[0]} virtual tokens before an encoder and {counts[1]} in front of its "
            "decoder, and PEFT gives both sides as many; tune one with --placement front to export it"
        )
    return Content(InputPrompt(torch.cat(sides)), "encoder-decoder", num_sides=2)
