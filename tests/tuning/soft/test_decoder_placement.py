import pytest
import torch

from tests.tiny_models import tiny_model
from tests.training.toy_task import ANSWERS, TEXT
from tuningfork.errors import PromptError
from tuningfork.models.artefacts import EncoderDecoderPrompt, InputPrompt, PlacedPrompt
from tuningfork.tuning.soft.decoder_placement import InFrontOfDecoder, stands_at_decoder
from tuningfork.tuning.soft.method import HasRateFactors, ShowsRows, SoftMethod, begin
from tuningfork.tuning.soft.registry import SOFT_METHODS

AT_INPUT = [m for m in SOFT_METHODS.values() if m.kind == "input" and not isinstance(m, ShowsRows)]
AT_DECODER = [m for m in SOFT_METHODS.values() if stands_at_decoder(m)]
WORDS = (7, 8)
BOTH_SIDES = (1, -1, 7, -2)


@pytest.mark.parametrize("method", [*AT_INPUT, *AT_DECODER], ids=lambda method: method.name)
def test_the_decoder_is_given_what_the_method_makes(method: SoftMethod) -> None:
    model = tiny_model("t5")
    embeddings = model.embed(TEXT).float()
    placed = InFrontOfDecoder(method, WORDS)
    found = placed.materialize(begin(placed, model, embeddings, num_labels=len(ANSWERS)))
    expected = method.materialize(begin(method, model, embeddings, num_labels=len(ANSWERS)))
    assert isinstance(found, EncoderDecoderPrompt)
    assert found.encoder == WORDS
    assert type(found.decoder) is type(expected)
    for one, other in zip(found.tensors(), expected.tensors(), strict=True):
        assert torch.equal(one, other)
    assert (placed.name, placed.peft_type, placed.equals_text_at_start) == (method.name, None, False)
    assert placed.rate_factors == (method.rate_factors if isinstance(method, HasRateFactors) else {})


@pytest.mark.parametrize("method", AT_INPUT, ids=lambda method: method.name)
def test_the_first_tokens_are_the_encoders_where_it_has_places_for_them(method: SoftMethod) -> None:
    model = tiny_model("bart")
    embeddings = model.embed(TEXT).float()
    placed = InFrontOfDecoder(method, BOTH_SIDES)
    found = placed.materialize(begin(placed, model, embeddings))
    expected = method.materialize(begin(method, model, embeddings))
    assert isinstance(found.encoder, PlacedPrompt)
    assert isinstance(found.decoder, InputPrompt)
    assert isinstance(expected, InputPrompt)
    assert found.encoder.prefix_ids == BOTH_SIDES
    assert torch.equal(found.encoder.embeddings, expected.embeddings[:2])
    assert torch.equal(found.decoder.embeddings, expected.embeddings[2:])


@pytest.mark.parametrize("method", AT_DECODER, ids=lambda method: method.name)
def test_keys_and_values_cannot_be_divided(method: SoftMethod) -> None:
    with pytest.raises(
        PromptError, match=f"{method.name} is for the decoder alone; choose --placement decoder"
    ):
        InFrontOfDecoder(method, BOTH_SIDES)


OTHERS = [m for m in SOFT_METHODS.values() if m not in (*AT_INPUT, *AT_DECODER)]


@pytest.mark.parametrize("method", OTHERS, ids=lambda method: method.name)
def test_a_method_that_makes_nothing_for_a_decoder_is_refused(method: SoftMethod) -> None:
    with pytest.raises(
        PromptError, match=f"{method.name} has no virtual tokens that could stand in front of a"
    ):
        InFrontOfDecoder(method, WORDS)


def test_a_model_without_a_decoder_apart_is_refused() -> None:
    model = tiny_model("llama")
    placed = InFrontOfDecoder(AT_INPUT[0], WORDS)
    with pytest.raises(PromptError, match="tiny-llama is no encoder-decoder model, and has no decoder apart"):
        begin(placed, model, model.embed(TEXT).float())
    prompt = EncoderDecoderPrompt(WORDS, InputPrompt(model.embed(TEXT).float()))
    for architecture in ("llama", "mamba"):
        with pytest.raises(PromptError, match=f"for an encoder-decoder model, and {architecture} is none"):
            tiny_model(architecture).prefix([prompt])
