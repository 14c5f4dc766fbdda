from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from tests.encoder_decoder_reference import STARTS
from tests.tiny_models import BOS, ENCODER_DECODER, build_network, build_tokenizer, cast_network, random_ids
from tuningfork.errors import ModelError
from tuningfork.models.encoder_decoder_support import opening_ids
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.support import Support


def wrapped(network: Any) -> FrozenModel:
    return FrozenModel(network, build_tokenizer(), name="tiny")


class Deaf(transformers.T5ForConditionalGeneration):  # type: ignore[no-untyped-call]
    """Takes embeddings and does not listen to them."""

    def get_encoder(self, *arguments: Any, **named: Any) -> Any:
        encoder = super().get_encoder(*arguments, **named)
        inner = type(encoder).forward

        def forward(*given: Any, inputs_embeds: Tensor | None = None, **others: Any) -> Any:
            if inputs_embeds is not None:
                inputs_embeds = torch.zeros_like(inputs_embeds)
            return inner(encoder, *given, inputs_embeds=inputs_embeds, **others)

        encoder.forward = forward
        return encoder


@pytest.mark.parametrize("architecture", ENCODER_DECODER)
def test_a_model_says_how_it_reads(architecture: str) -> None:
    network = build_network(architecture)
    kind = network.config.model_type
    model = wrapped(network)
    assert model.is_encoder_decoder
    assert model.support == Support(
        "encoder-decoder", f"{kind} reads each row, its prompt in front, with an encoder that sees both ways"
    )


@pytest.mark.parametrize("architecture", ["t5", "bart", "pegasus"])
def test_sixteen_bit_models_pass_the_probe(architecture: str) -> None:
    model = wrapped(cast_network(build_network(architecture), torch.bfloat16))
    rows = [random_ids(5, seed=1)]
    found = model.logits(rows, model.prefix([[7]]), [[4]])
    wide = wrapped(build_network(architecture))
    assert found.dtype == torch.float32
    assert 0 < float((found - wide.logits(rows, wide.prefix([[7]]), [[4]])).abs().max()) < 0.3


def test_a_model_that_ignores_embeddings_is_refused() -> None:
    network: Any = build_network("t5")
    deaf = Deaf(network.config)
    deaf.load_state_dict(network.state_dict())
    with pytest.raises(ModelError, match=r"t5 gives other logits for embeddings .* accepts inputs_embeds"):
        wrapped(deaf)


def test_a_model_that_sees_padding_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    network = build_network("bart")
    encoder: Any = network.get_encoder()
    forward = encoder.forward

    def forget(*arguments: Any, attention_mask: Tensor | None = None, **named: Any) -> Any:
        return forward(*arguments, **named)

    monkeypatch.setattr(encoder, "forward", forget)
    with pytest.raises(ModelError, match="bart gives other logits beside rows of another length"):
        wrapped(network)


def test_a_model_without_a_start_token_is_refused() -> None:
    network: Any = build_network("t5")
    network.generation_config.decoder_start_token_id = None
    network.config.decoder_start_token_id = None
    with pytest.raises(ModelError, match="t5 names no decoder_start_token_id, with which its answers begin"):
        wrapped(network)


def test_a_model_without_a_head_is_refused() -> None:
    network: Any = build_network("t5")
    with pytest.raises(ModelError, match="T5Model has no language-model head; expected a model that answers"):
        wrapped(transformers.T5Model(network.config))


def test_an_answer_opens_as_the_model_forces_it_or_as_the_tokenizer_opens_texts() -> None:
    network: Any = build_network("bart")
    tokenizer = build_tokenizer()
    assert opening_ids(network, tokenizer) == (STARTS["bart"],)
    tokenizer.backend_tokenizer.post_processor = closing_processor()
    assert opening_ids(network, tokenizer) == (STARTS["bart"], BOS)
    network.generation_config.forced_bos_token_id = 20
    assert opening_ids(network, tokenizer) == (STARTS["bart"], 20)


def closing_processor() -> Any:
    """`<s> text </s>`, as BART's tokenizer writes."""
    from tokenizers.processors import TemplateProcessing

    return TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
