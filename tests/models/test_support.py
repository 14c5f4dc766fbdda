from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from transformers import PreTrainedModel

from tests.tiny_models import (
    ATTENDING,
    BOS,
    RECURRENT,
    base_network,
    build_model,
    build_network,
    build_tokenizer,
    cast_network,
    random_ids,
    tiny_model,
)
from tests.unpadded_reference import EVERYWHERE, ROWS
from tuningfork.errors import ModelError
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.support import Support, inspect_support


class UnknownScale(transformers.LlamaForCausalLM):  # type: ignore[no-untyped-call]
    """Scales its logits by a number that no config field holds."""

    def forward(self, *arguments: Any, **named: Any) -> Any:
        output = super().forward(*arguments, **named)
        output.logits = output.logits * 1.7
        return output


class Deaf(transformers.LlamaForCausalLM):  # type: ignore[no-untyped-call]
    """Takes embeddings and does not listen to them."""

    def forward(self, *arguments: Any, inputs_embeds: Tensor | None = None, **named: Any) -> Any:
        if inputs_embeds is not None:
            inputs_embeds = torch.zeros_like(inputs_embeds)
        return super().forward(*arguments, inputs_embeds=inputs_embeds, **named)


def rebuilt(kind: type[PreTrainedModel]) -> PreTrainedModel:
    network = build_network("llama")
    other = kind(network.config)
    other.load_state_dict(network.state_dict())
    return other


def wrapped(network: PreTrainedModel) -> FrozenModel:
    return FrozenModel(network, build_tokenizer(), name="tiny")


@pytest.mark.parametrize("architecture", ATTENDING)
def test_full_and_sliding_attention_share_a_prefix(architecture: str) -> None:
    expected = Support("shared", "every layer keeps plain keys and values")
    assert tiny_model(architecture).support == expected


@pytest.mark.parametrize("architecture", RECURRENT)
def test_recurrent_layers_take_the_plain_path_and_say_why(architecture: str) -> None:
    expected = Support("plain", f"{architecture} keeps a recurrent state instead of keys and values")
    assert tiny_model(architecture).support == expected


def test_layers_of_another_cache_type_take_the_plain_path_and_say_why() -> None:
    network = build_network("jamba")
    network._is_stateful = False
    support = inspect_support(network)
    assert support.path == "plain"
    assert "jamba has layers of another cache type (LinearAttention" in support.reason


def test_an_unknown_scale_takes_the_plain_path_and_keeps_the_logits() -> None:
    model = wrapped(rebuilt(UnknownScale))
    assert model.support == Support("plain", "the scale of llama's logits could not be reproduced")
    expected = tiny_model("llama").logits(ROWS, tiny_model("llama").prefix([[BOS]]), EVERYWHERE) * 1.7
    found = model.logits(ROWS, model.prefix([[BOS]]), EVERYWHERE)
    assert float((found - expected).abs().max()) <= 1e-4


def test_lost_positions_take_the_plain_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen only where rows of different lengths are continued together."""
    network = build_network("gpt2")
    forward = network.base_model.forward

    def forget(*arguments: Any, position_ids: Tensor | None = None, **named: Any) -> Any:
        return forward(*arguments, **named)

    monkeypatch.setattr(network.base_model, "forward", forget)
    reason = "gpt2 gave other logits after rows of different lengths"
    assert wrapped(network).support == Support("plain", reason)


def test_a_prefix_that_is_not_seen_takes_the_plain_path(monkeypatch: pytest.MonkeyPatch) -> None:
    network = build_network("llama")
    forward = network.base_model.forward

    def forget(*arguments: Any, past_key_values: Any = None, **named: Any) -> Any:
        return forward(*arguments, past_key_values=transformers.DynamicCache(), **named)

    monkeypatch.setattr(network.base_model, "forward", forget)
    assert wrapped(network).support.path == "plain"


def test_a_refused_cache_takes_the_plain_path_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    network = build_network("llama")
    forward = network.base_model.forward

    def refuse(*arguments: Any, past_key_values: Any = None, **named: Any) -> Any:
        if past_key_values is not None:
            raise TypeError("this cache\nis not mine")
        return forward(*arguments, **named)

    monkeypatch.setattr(network.base_model, "forward", refuse)
    reason = "llama failed after a shared prefix (this cache is not mine)"
    assert wrapped(network).support == Support("plain", reason)


def test_a_model_that_ignores_embeddings_is_refused() -> None:
    with pytest.raises(ModelError, match=r"llama gives other logits for embeddings .* accepts inputs_embeds"):
        wrapped(rebuilt(Deaf))


def test_a_model_without_a_head_is_refused() -> None:
    with pytest.raises(ModelError, match="LlamaModel has no language-model head; expected a causal"):
        wrapped(base_network("llama"))


def test_a_model_that_sees_later_tokens_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # By its configuration it is an encoder, which may.
    monkeypatch.setattr("tuningfork.models.frozen.architecture_of", lambda config: "decoder")
    config = transformers.BertConfig(
        vocab_size=97, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    with pytest.raises(ModelError, match="bert lets tokens see later ones; expected a causal"):
        wrapped(transformers.BertLMHeadModel(config))


@pytest.mark.parametrize("architecture", ["llama", "gemma2", "granite", "opt"])
def test_sixteen_bit_models_pass_the_probe(architecture: str) -> None:
    network = cast_network(build_network(architecture), torch.bfloat16)
    model = wrapped(network)
    assert model.support.path == "shared"
    rows = [random_ids(3, seed=1)]
    logits = model.logits(rows, model.prefix([[BOS]]), [[2]])
    assert logits.dtype == torch.float32
    assert (
        float((logits - build_model(architecture).logits(rows, tiny_prefix(architecture), [[2]])).abs().max())
        < 0.3
    )


def tiny_prefix(architecture: str) -> Any:
    return tiny_model(architecture).prefix([[BOS]])
