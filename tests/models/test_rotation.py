import pytest
import torch
import transformers

from tests.tiny_models import build_model, cast_network, random_ids, scale_weights, tiny_model
from tests.unpadded_reference import positions_from, text_key_values
from tuningfork.errors import PromptError
from tuningfork.models.artefacts import KeyValuePrefix
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.prefix import cache_layers, new_cache
from tuningfork.models.rotation import moved

ROTARY = ("llama", "qwen2", "qwen3", "granite", "mistral", "gemma2", "gemma3", "cohere")
IDS = random_ids(6, seed=21)


@torch.no_grad()
def made_at(model: FrozenModel, start: int) -> KeyValuePrefix:
    """Keys and values of a text whose first token stands at `start`."""
    cache = new_cache()
    positions = positions_from(model.network, start, len(IDS))
    model.network(input_ids=torch.tensor([IDS]), past_key_values=cache, **positions)
    return KeyValuePrefix(
        tuple(None if pair is None else (pair[0][0], pair[1][0]) for pair in cache_layers(cache))
    )


def largest_difference(found: KeyValuePrefix, expected: KeyValuePrefix) -> float:
    pairs = zip(found.tensors(), expected.tensors(), strict=True)
    return max(float((ours - theirs).abs().max() / theirs.abs().max()) for ours, theirs in pairs)


@pytest.mark.parametrize("by", [1, 7, 90])
@pytest.mark.parametrize("architecture", ROTARY)
def test_moved_keys_are_those_that_the_network_makes_there(architecture: str, by: int) -> None:
    model = tiny_model(architecture)
    here, there = made_at(model, 0), made_at(model, by)
    assert largest_difference(here, there) > 0.05
    assert largest_difference(moved(model, here, by), there) < 1e-5


def test_part_of_a_key_may_turn_alone() -> None:
    config = transformers.PhiConfig(
        vocab_size=97, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=64,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = transformers.AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    scale_weights(network.eval())
    model = FrozenModel(network, tiny_model("llama").tokenizer, name="tiny-phi")
    here, there = made_at(model, 0), made_at(model, 9)
    keys, turned = here.tensors()[0], there.tensors()[0]
    assert torch.allclose(keys[..., 8:], turned[..., 8:], atol=1e-5)
    assert largest_difference(here, there) > 0.05
    assert largest_difference(moved(model, here, 9), there) < 1e-5


def test_nothing_moves_by_nothing() -> None:
    prefix = text_key_values(tiny_model("gpt2"), IDS)
    assert moved(tiny_model("gpt2"), prefix, 0) is prefix


@pytest.mark.parametrize("architecture", ["gpt2", "opt"])
def test_positions_that_are_no_rotation_are_refused(architecture: str) -> None:
    model = tiny_model(architecture)
    with pytest.raises(PromptError, match=f"{architecture}.* do not just turn with their position"):
        moved(model, text_key_values(model, IDS), 5)


def test_models_that_are_told_no_positions_are_refused() -> None:
    model = tiny_model("bloom")
    with pytest.raises(PromptError, match="tiny-bloom is not told where its tokens stand"):
        moved(model, text_key_values(model, IDS), 5)
    prefix = text_key_values(tiny_model("llama"), IDS)
    with pytest.raises(PromptError, match="tiny-mamba is not told where its tokens stand"):
        moved(tiny_model("mamba"), prefix, 5)


def test_a_prefix_of_another_model_and_a_place_beyond_the_maximum_are_refused() -> None:
    model = tiny_model("llama")
    prefix = text_key_values(model, IDS)
    with pytest.raises(PromptError, match="no text fits 127 positions later; the model's maximum is 128"):
        moved(model, prefix, 127)
    with pytest.raises(PromptError, match="the prefix has 1 layers, the model has 2"):
        moved(model, KeyValuePrefix(prefix.layers[:1]), 5)


def test_only_float32_is_exact() -> None:
    network = cast_network(build_model("llama").network, torch.bfloat16)
    model = FrozenModel(network, tiny_model("llama").tokenizer, name="half")
    with pytest.raises(PromptError, match="half runs in bfloat16; add --dtype float32"):
        moved(model, text_key_values(tiny_model("llama"), IDS), 5)
