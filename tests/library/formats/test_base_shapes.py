from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BartConfig,
    BloomConfig,
    FalconConfig,
    GPT2Config,
    GPTBigCodeConfig,
    OPTConfig,
    PretrainedConfig,
    T5Config,
)

from tests.library.formats.peft_encoders import encoder_network, encoder_path
from tests.library.formats.peft_folders import config_of
from tests.library.formats.peft_logits import ROWS
from tests.library.formats.peft_two_sided import two_sided_model, two_sided_network
from tests.tiny_models import ATTENDING, VOCABULARY_SIZE
from tuningfork.errors import FormatError
from tuningfork.library.formats.base_shapes import (
    KeyValueShape,
    check_embedding_width,
    embedding_width,
    key_value_shape,
)
from tuningfork.models.embedding import embedding_weight

_TINY: dict[str, Any] = {"vocab_size": VOCABULARY_SIZE, "hidden_size": 32, "num_attention_heads": 4}


@pytest.mark.parametrize(
    "config",
    [
        *(config_of(name) for name in ATTENDING),
        FalconConfig(**_TINY, num_hidden_layers=2),
        FalconConfig(**_TINY, num_hidden_layers=3, new_decoder_architecture=True, num_kv_heads=2),
        GPTBigCodeConfig(**_TINY, n_layer=2, n_positions=64),
        GPT2Config(**_TINY, n_layer=2, n_positions=64),
        BloomConfig(**_TINY, n_layer=2),
        OPTConfig(**_TINY, num_hidden_layers=2, ffn_dim=48, word_embed_proj_dim=16),
    ],
    ids=lambda config: config.model_type,
)
def test_the_shape_is_that_of_the_cache(config: PretrainedConfig) -> None:
    network = AutoModelForCausalLM.from_config(config).eval()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        cache = network(torch.tensor([ROWS[0]]), use_cache=True).past_key_values
    keys = [layer.keys for layer in cache.layers]
    heads_and_size = {(tensor.shape[1], tensor.shape[3]) for tensor in keys}
    assert heads_and_size == {(layer.values.shape[1], layer.values.shape[3]) for layer in cache.layers}
    assert {KeyValueShape(len(keys), *found) for found in heads_and_size} == {key_value_shape(config)}


def test_the_width_is_that_of_the_embeddings() -> None:
    narrow = OPTConfig(**_TINY, num_hidden_layers=2, ffn_dim=48, word_embed_proj_dim=16)
    assert (embedding_width(narrow), embedding_width(config_of("llama"))) == (16, 32)
    check_embedding_width("prompt.npy", 16, narrow)
    with pytest.raises(
        FormatError, match=r"^prompt\.npy: the prompt is 32 wide, the embeddings of opt are 16"
    ):
        check_embedding_width("prompt.npy", 32, narrow)


@pytest.mark.parametrize("name", ["t5", "mt5", "bart", "pegasus"])
def test_of_two_parts_the_shape_is_that_of_the_decoder(name: str) -> None:
    network = two_sided_network(name, encoder=2, decoder=3)
    pairs = two_sided_model(name, 2, 3).key_values(torch.zeros(1, 32))
    ((heads, _, size),) = {tuple(tensor.shape[-3:]) for pair in pairs for tensor in pair}
    assert key_value_shape(network.config) == KeyValueShape(3, heads, size) == KeyValueShape(len(pairs), 4, 8)
    assert embedding_width(network.config) == 32


def test_heads_of_t5_may_be_wider_than_its_states() -> None:
    config = T5Config(d_model=32, d_kv=16, num_heads=3, num_layers=2, num_decoder_layers=5)
    assert key_value_shape(config) == KeyValueShape(5, 3, 16)
    bart = BartConfig(d_model=32, encoder_attention_heads=2, decoder_attention_heads=4, decoder_layers=3)
    assert key_value_shape(bart) == KeyValueShape(3, 4, 8)


@pytest.mark.parametrize("name", ["bert", "roberta", "electra"])
def test_of_an_encoder_the_shape_is_what_its_cache_keeps(name: str) -> None:
    config = encoder_network(name).config
    width = embedding_width(config)
    assert width == embedding_weight(encoder_network(name)).shape[1]
    pairs = encoder_path(name).key_values(torch.zeros(1, width))
    assert {tuple(tensor.shape) for pair in pairs for tensor in pair} == {(4, 1, 8)}
    assert key_value_shape(config) == KeyValueShape(len(pairs), 4, 8)
