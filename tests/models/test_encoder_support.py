from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from tests.tiny_models import (
    ENCODERS,
    KEY_VALUE_ENCODERS,
    MASK,
    build_encoder,
    build_encoder_tokenizer,
    tiny_encoder,
)
from tuningfork.errors import ModelError
from tuningfork.models.encoder import EncoderPath
from tuningfork.models.encoder_support import probe_encoder
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.support import Support


def probe(network: Any, mask_id: int | None = MASK) -> tuple[Support, EncoderPath]:
    path = EncoderPath(network, mask_id)
    return probe_encoder(network, path), path


@pytest.mark.parametrize("architecture", ENCODERS)
def test_an_encoder_says_what_it_can_do(architecture: str) -> None:
    model = tiny_encoder(architecture)
    kind, takes = model.network.config.model_type, architecture in KEY_VALUE_ENCODERS
    reads = f"{kind} reads text in both directions"
    reason = (
        f"{reads} and fills masks"
        if takes
        else f"{reads}, fills masks and takes no keys and values from outside"
    )
    assert model.support == Support("encoder", reason, refuses_key_values=not takes)
    assert (model.architecture, model.says_words) == ("encoder", True)


@pytest.mark.parametrize("mask_id", [None, MASK])
def test_without_a_masked_lm_head_or_a_mask_token_a_head_must_be_trained(mask_id: int | None) -> None:
    network: Any = build_encoder("bert")
    support, path = probe(network if mask_id is None else network.base_model, mask_id)
    assert not path.says_words
    assert "has no masked-LM head, so a head must be trained" in support.reason
    assert support.takes_key_values


def test_rows_of_a_network_without_a_mask_are_run_alone() -> None:
    config = transformers.FNetConfig(
        vocab_size=97, hidden_size=32, intermediate_size=48, num_hidden_layers=2, max_position_embeddings=64
    )
    torch.manual_seed(0)
    network: Any = transformers.FNetForMaskedLM(config)
    network.eval()
    model = FrozenModel(network, build_encoder_tokenizer(), name="tiny-fnet")
    assert "runs each row alone, as padding changes it" in model.support.reason
    assert not model.support.takes_key_values
    rows = [[5, 6, MASK], [5, 6, 7, 8, 9, MASK, 4]]
    prefix = model.prefix([[1]])
    together = model.score(rows, prefix, [[11], [12]])
    alone = torch.cat([model.score([row], prefix, [[11], [12]]) for row in rows])
    assert torch.allclose(together, alone, atol=1e-6)


def test_a_network_that_reads_embeddings_otherwise_is_refused() -> None:
    network: Any = build_encoder("bert")
    table = network.get_input_embeddings()
    embed: Callable[[Tensor], Tensor] = table.forward
    network.bert.embeddings.register_forward_pre_hook(
        lambda _m, args, kwargs: (args, {**kwargs, "inputs_embeds": _doubled(kwargs.get("inputs_embeds"))}),
        with_kwargs=True,
    )
    assert embed(torch.tensor([5])).shape == (1, 32)
    with pytest.raises(
        ModelError, match="bert gives other outputs for embeddings than for the same token ids"
    ):
        probe(network)


def _doubled(given: Tensor | None) -> Tensor | None:
    return None if given is None else 2 * given


def test_keys_and_values_that_are_taken_but_not_seen_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    network: Any = build_encoder("bert")

    def blind(self: EncoderPath, sequences: Any, width: int) -> dict[str, Any]:
        arguments = seeing(self, sequences, width)
        if "past_key_values" in arguments:
            arguments["attention_mask"][..., :2] = torch.finfo(torch.float32).min
        return arguments

    seeing = EncoderPath._attention
    monkeypatch.setattr(EncoderPath, "_attention", blind)
    support, path = probe(network)
    assert not support.takes_key_values
    assert not path.takes_key_values
