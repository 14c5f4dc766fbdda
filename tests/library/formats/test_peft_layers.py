import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import BartConfig, LlamaConfig, PretrainedConfig, T5Config

from tuningfork.errors import FormatError
from tuningfork.library.formats.base_shapes import KeyValueShape
from tuningfork.library.formats.peft_layers import check_num_stored, given_layers, num_written_layers

BOTH, ONE = T5Config(num_layers=4, num_decoder_layers=2), LlamaConfig(num_hidden_layers=3)


def test_behind_an_encoder_every_other_layer_is_given_and_then_again() -> None:
    assert given_layers(2, 2, BOTH) == (0, 0)
    assert given_layers(6, 6, BOTH) == (0, 2, 4, 0, 2, 4)
    assert given_layers(3, 3, BOTH) == (0, 2, 1)
    assert given_layers(2, 5, BOTH) == (0, 2)
    assert given_layers(3, 3, ONE) == (0, 1, 2)


@given(st.integers(1, 200))
def test_what_is_written_gives_each_layer_its_own(num_layers: int) -> None:
    for config in (BOTH, ONE):
        num_written = num_written_layers(num_layers, config)
        assert num_layers <= num_written <= num_layers + 1
        given_ones = given_layers(num_layers, num_written, config)
        assert len(set(given_ones)) == len(given_ones) == num_layers
        assert max(given_ones) < num_written
    assert num_written_layers(num_layers, ONE) == num_layers


@pytest.mark.parametrize(
    ("config", "count"),
    [(BOTH, 2), (BOTH, 3), (BOTH, 4), (BartConfig(encoder_layers=5, decoder_layers=2), 5)],
)
def test_as_many_as_either_part_has_or_as_we_write_are_read(config: PretrainedConfig, count: int) -> None:
    assert check_num_stored("here", count, KeyValueShape(2, 8, 64), config) == count


@pytest.mark.parametrize("count", [None, "2", 2.0, True, 0, -2, 1, 6, 10**9])
def test_any_other_number_is_of_another_base(count: object) -> None:
    with pytest.raises(
        FormatError, match=r"^here: num_layers is .*, the model has 4 in its encoder and 2 in its"
    ):
        check_num_stored("here", count, KeyValueShape(2, 8, 64), BOTH)
    with pytest.raises(
        FormatError, match=r"^here: num_layers is .*, the model has 3; it was made for another"
    ):
        check_num_stored("here", count, KeyValueShape(3, 8, 64), ONE)


def test_fewer_than_the_decoder_has_are_told_apart() -> None:
    longer = T5Config(num_layers=2, num_decoder_layers=4)
    with pytest.raises(
        FormatError, match="keys and values for 2 layers, the decoder has 4; PEFT cannot run it e"
    ):
        check_num_stored("here", 2, KeyValueShape(4, 8, 64), longer)
