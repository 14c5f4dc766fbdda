import pytest
import torch

from tests.tiny_models import RECURRENT, random_ids, tiny_model
from tuningfork.errors import PromptError
from tuningfork.models.prefix import cache_layers, new_cache
from tuningfork.tuning.soft.method import begin
from tuningfork.tuning.soft.prefix_tuning import PrefixTuning


def test_keys_and_values_of_every_layer_are_learned() -> None:
    model = tiny_model("llama")
    module = begin(PrefixTuning(), model, model.embed(random_ids(5, seed=1)).float())
    shapes = {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}
    assert shapes == dict.fromkeys(["keys.0", "keys.1", "values.0", "values.1"], (2, 5, 8))


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma3"])
def test_the_prefix_starts_as_what_the_text_leaves_in_the_cache(architecture: str) -> None:
    model, method, ids = tiny_model(architecture), PrefixTuning(), random_ids(5, seed=1)
    prefix = method.materialize(begin(method, model, model.embed(ids).float()))
    assert prefix.position == 0
    cache = new_cache()
    model.network(input_ids=torch.tensor([ids]), past_key_values=cache, use_cache=True)
    for found, expected in zip(prefix.layers, cache_layers(cache), strict=True):
        assert found is not None
        assert expected is not None
        torch.testing.assert_close(found[0].detach(), expected[0][0], rtol=0, atol=1e-5)
        torch.testing.assert_close(found[1].detach(), expected[1][0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("architecture", RECURRENT)
def test_a_model_without_plain_keys_and_values_is_refused(architecture: str) -> None:
    model = tiny_model(architecture)
    with pytest.raises(
        PromptError,
        match=f"prefix tuning is not possible with tiny-{architecture}: .*; use prompt tuning",
    ):
        begin(PrefixTuning(), model, model.embed(random_ids(5, seed=1)).float())
