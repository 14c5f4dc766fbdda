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

from tuningfork.models.architecture import architecture_of


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
