import pytest

from tests.tiny_models import build_network
from tuningfork.models.low_rank import linear_shape
from tuningfork.tuning.weights.linear_layers import linear_layers


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2", "opt"])
def test_every_linear_layer_but_the_head_is_found_with_its_size(architecture: str) -> None:
    network = build_network(architecture)
    found = linear_layers(network, ())
    expected = {
        name: shape
        for name, layer in network.named_modules()
        if (shape := linear_shape(layer)) is not None and name != "lm_head"
    }
    assert found == expected
    assert len(found) >= 8


def test_the_head_is_found_if_it_is_named() -> None:
    assert linear_layers(build_network("llama"), ("lm_head",)) == {"lm_head": (97, 32)}
