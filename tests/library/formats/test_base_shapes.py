from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    FalconConfig,
    GPT2Config,
    GPTBigCodeConfig,
    OPTConfig,
    PretrainedConfig,
)

from tests.library.formats.peft_folders import config_of
from tests.library.formats.peft_logits import ROWS
from tests.tiny_models import ATTENDING, VOCABULARY_SIZE
from tuningfork.errors import FormatError
from tuningfork.library.formats.base_shapes import (
    KeyValueShape,
    check_embedding_width,
    embedding_width,
    key_value_shape,
)

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
