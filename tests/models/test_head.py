from typing import Any

import pytest
import torch
from torch import Tensor

from tests.tiny_models import ATTENDING, SCALED, random_ids, tiny_model
from tuningfork.models.head import LogitsHead


@torch.no_grad()
def hidden_and_logits(architecture: str) -> tuple[Tensor, Tensor]:
    network = tiny_model(architecture).network
    ids = torch.tensor([random_ids(9, seed=4)])
    return network.base_model(input_ids=ids).last_hidden_state[0], network(input_ids=ids).logits[0]


@pytest.mark.parametrize("architecture", ATTENDING)
def test_a_fitted_head_gives_the_logits_of_the_model(architecture: str) -> None:
    hidden, expected = hidden_and_logits(architecture)
    head = LogitsHead(tiny_model(architecture).network)
    assert head.fit(hidden[:4], expected[:4])
    found = head(hidden)
    assert found.dtype == torch.float32
    assert float((found - expected).abs().max()) <= 1e-5


@pytest.mark.parametrize("architecture", SCALED)
def test_scale_and_softcap_are_not_a_matter_of_taste(architecture: str) -> None:
    hidden, expected = hidden_and_logits(architecture)
    head: Any = tiny_model(architecture).network.get_submodule("lm_head")
    bare = head(hidden)
    assert float((bare - expected).abs().max()) > 0.1


def test_an_unknown_scale_is_not_fitted() -> None:
    hidden, expected = hidden_and_logits("llama")
    assert not LogitsHead(tiny_model("llama").network).fit(hidden, expected * 1.7)


def test_logits_of_another_vocabulary_are_not_fitted() -> None:
    hidden, expected = hidden_and_logits("llama")
    assert not LogitsHead(tiny_model("llama").network).fit(hidden, expected[:, :-1])


def test_a_scale_given_in_words_is_left_to_the_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    network = tiny_model("llama").network
    monkeypatch.setattr(network.config, "logit_scale", "inv_sqrt_d_model", raising=False)
    hidden, expected = hidden_and_logits("llama")
    assert LogitsHead(network).fit(hidden, expected)
    assert not LogitsHead(network).fit(hidden, expected / 32**0.5)
