import pytest
from transformers import (
    BartConfig,
    BertConfig,
    DebertaV2Config,
    GPT2Config,
    LlamaConfig,
    PretrainedConfig,
    RobertaConfig,
    T5Config,
)

from tuningfork.models.architecture import architecture_of, named_length


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (LlamaConfig(), "decoder"),
        (GPT2Config(), "decoder"),
        (BertConfig(is_decoder=True), "decoder"),
        (BertConfig(), "encoder"),
        (RobertaConfig(), "encoder"),
        (DebertaV2Config(), "encoder"),
        (T5Config(), "encoder-decoder"),
        (BartConfig(), "encoder-decoder"),
    ],
)
def test_the_kind_of_network_is_read_from_its_configuration(config: PretrainedConfig, expected: str) -> None:
    assert architecture_of(config) == expected


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (LlamaConfig(max_position_embeddings=77), 77),
        (GPT2Config(n_positions=55), 55),
        (BartConfig(max_position_embeddings=33), 33),
        (T5Config(), None),
        (PretrainedConfig(), None),
    ],
)
def test_the_longest_sequence_is_what_the_configuration_names(
    config: PretrainedConfig, expected: int | None
) -> None:
    assert named_length(config) == expected
