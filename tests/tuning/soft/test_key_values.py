import pytest
import torch

from tests.tiny_models import RECURRENT, random_ids, tiny_model
from tuningfork.errors import PromptError
from tuningfork.models.prefix import cache_layers, new_cache
from tuningfork.tuning.soft.key_values import initial_key_values, learned_key_values, prefix_of


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma3"])
def test_they_are_what_the_text_leaves_in_the_cache(architecture: str) -> None:
    model, ids = tiny_model(architecture), random_ids(5, seed=1)
    found = initial_key_values(model, model.embed(ids).float())
    cache = new_cache()
    model.network(input_ids=torch.tensor([ids]), past_key_values=cache, use_cache=True)
    for pair, expected in zip(found, cache_layers(cache), strict=True):
        assert expected is not None
        for part, wanted in zip(pair, expected, strict=True):
            assert not part.requires_grad
            torch.testing.assert_close(part, wanted[0].detach(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("architecture", RECURRENT)
def test_a_model_without_plain_keys_and_values_is_refused(architecture: str) -> None:
    model = tiny_model(architecture)
    with pytest.raises(
        PromptError,
        match=f"prefix tuning is not possible with tiny-{architecture}: .*; use prompt tuning",
    ):
        initial_key_values(model, model.embed(random_ids(5, seed=1)).float())


def test_they_are_learned_by_layer_and_stand_at_the_front() -> None:
    model = tiny_model("llama")
    embeddings = model.embed(random_ids(5, seed=1)).float()
    module = learned_key_values(model, embeddings)
    assert {name for name, _ in module.named_parameters()} == {"keys.0", "keys.1", "values.0", "values.1"}
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1.0)
    prefix = prefix_of(module)
    assert prefix.position == 0
    for pair, initial in zip(prefix.layers, initial_key_values(model, embeddings), strict=True):
        assert pair is not None
        for part, was in zip(pair, initial, strict=True):
            assert torch.equal(part, was + 1.0)
