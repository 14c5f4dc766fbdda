"""Which types hold which prompt; that their folders act alike is shown for each in a test of its own."""

import pytest
import torch
from transformers import BertConfig, LlamaConfig, PretrainedConfig, T5Config

from tuningfork.errors import FormatError
from tuningfork.library.formats.peft_config import AT_INPUT, KEY_VALUE
from tuningfork.library.formats.peft_content import content_of
from tuningfork.library.formats.sides import prompt_of_sides
from tuningfork.models.artefacts import (
    EncoderDecoderPrompt,
    HeadedPrefix,
    HeadedPrompt,
    InputPrompt,
    KeyValuePrefix,
    PlacedPrompt,
    SoftPrompt,
)
from tuningfork.models.classification_head import ClassificationHead

DECODER, BOTH, ENCODER = LlamaConfig(), T5Config(), BertConfig()
TOKENS = InputPrompt(torch.ones(3, 32))
PREFIX = KeyValuePrefix(((torch.ones(1, 3, 2), torch.ones(1, 3, 2)),))
HEAD = ClassificationHead(torch.ones(2, 32), torch.zeros(2))


@pytest.mark.parametrize(
    ("config", "at_input"), [(DECODER, AT_INPUT), (BOTH, AT_INPUT[:3]), (ENCODER, AT_INPUT[:2])]
)
def test_each_kind_of_model_has_the_types_that_peft_runs(
    config: PretrainedConfig, at_input: tuple[str, ...]
) -> None:
    assert content_of(TOKENS, config).types == at_input
    assert content_of(PREFIX, config).types == KEY_VALUE
    assert content_of(PREFIX, config).checked_type(None) == "PREFIX_TUNING"
    assert content_of(TOKENS, config).checked_type("P_TUNING") == "P_TUNING"


def test_two_sides_are_held_as_one_tensor() -> None:
    decoder = torch.zeros(3, 32)
    content = content_of(prompt_of_sides(TOKENS.embeddings, decoder), BOTH)
    assert (content.types, content.num_sides, content.num_virtual_tokens) == (
        ("MULTITASK_PROMPT_TUNING",),
        2,
        3,
    )
    assert isinstance(content.prompt, InputPrompt)
    assert torch.equal(content.prompt.embeddings, torch.cat([TOKENS.embeddings, decoder]))


def test_of_a_prefix_the_words_of_the_encoder_are_left_out() -> None:
    content = content_of(EncoderDecoderPrompt((7,), PREFIX), BOTH)
    assert content.prompt is PREFIX
    assert (content.architecture, content.num_sides) == ("encoder-decoder", 1)


@pytest.mark.parametrize(
    ("prompt", "config", "message"),
    [
        (EncoderDecoderPrompt((7,), TOKENS), BOTH, "in front of a decoder, with words before its encoder"),
        (EncoderDecoderPrompt((), TOKENS), BOTH, "has 0 virtual tokens before an encoder and 3"),
        (
            EncoderDecoderPrompt(PlacedPrompt(torch.ones(1, 32), (-1,)), PREFIX),
            BOTH,
            "virtual tokens before an encoder, and keys and values in front of its decoder; PEFT",
        ),
        (EncoderDecoderPrompt((7,), HeadedPrefix(PREFIX, HEAD)), BOTH, "classifiers of encoder-decoders"),
        (HeadedPrefix(PREFIX, HEAD), ENCODER, r"classifiers of encoders read \[CLS\] through"),
        (HeadedPrompt(TOKENS, HEAD), ENCODER, r"classifiers of encoders read \[CLS\] through"),
        (HeadedPrompt(TOKENS, HEAD), DECODER, "a head behind virtual tokens at the input"),
        (PlacedPrompt(torch.ones(1, 32), (4, -1)), ENCODER, "virtual tokens among the words"),
    ],
)  # fmt: skip
def test_what_has_no_counterpart_is_refused(
    prompt: SoftPrompt, config: PretrainedConfig, message: str
) -> None:
    with pytest.raises(FormatError, match=message):
        content_of(prompt, config)
