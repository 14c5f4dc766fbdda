"""Rows that run by themselves, against the network's own forward over one unpadded row."""

from collections.abc import Sequence
from functools import partial

import pytest
import torch
from torch import Tensor

from tests import encoder_decoder_reference as two_sided
from tests.models.test_side_by_side import Guest, behind, guests, worst_difference
from tests.tiny_models import random_ids, tiny_model
from tests.unpadded_reference import LogitsOf, offset_row_logits, random_embeddings
from tuningfork.errors import PromptError
from tuningfork.models.artefacts import DecomposedPrompt, EncoderDecoderPrompt, InputPrompt, KeyValuePrefix
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.prefix import PrefixState

TOLERANCE = 1e-4


def decomposed(model: FrozenModel) -> tuple[PrefixState, LogitsOf]:
    tokens, generator = random_embeddings(model.network, 3, seed=9), torch.Generator().manual_seed(5)
    down, up = (torch.randn(size, generator=generator) for size in ((5, 2), (2, tokens.shape[1])))
    prompt = DecomposedPrompt(tokens, down, up)
    return model.prefix([prompt]), partial(offset_row_logits, model.network, prompt)


@pytest.mark.parametrize("architecture", ["mamba", "jamba"])
def test_rows_with_a_recurrent_state_have_the_logits_of_rows_alone(architecture: str) -> None:
    model = tiny_model(architecture)
    prompts = [behind(model, 4), behind(model, 0), decomposed(model)]
    assert worst_difference(model, guests(prompts)) <= TOLERANCE


@pytest.mark.parametrize("index", range(3))
def test_such_a_row_has_logits_after_each_of_its_tokens(index: int) -> None:
    model = tiny_model("jamba")
    state, alone = (behind(model, 4), behind(model, 0), decomposed(model))[index]
    ids, rows = random_ids(6, seed=3), model.running_rows()
    reading = rows.begin(state, ids)
    found = rows.read(reading, 2, wants_all=True)
    with torch.no_grad():
        expected = alone(ids, len(ids))
    assert float((found - expected).abs().max()) <= TOLERANCE
    before = rows.logits_before(reading)
    assert (before is None) == (state.num_tokens == 0)


def answered(model: FrozenModel, kind: str) -> tuple[PrefixState, LogitsOf]:
    """A prompt of an encoder-decoder model, and what it answers to a row."""
    network, width = model.network, model.hidden_size
    virtual = two_sided.random_embeddings(network, 3, seed=4)
    if kind == "encoder":
        state = model.prefix([InputPrompt(virtual)])
        return state, lambda ids, start: two_sided.opened_logits(
            network, torch.cat([virtual, two_sided.embed(network, ids[:start])]), ids[start:]
        )
    if kind == "both":
        front = torch.randn(2, width, generator=torch.Generator().manual_seed(2))
        state = model.prefix([EncoderDecoderPrompt((5, 9), InputPrompt(front))])
        return state, lambda ids, start: two_sided.opened_logits(
            network, two_sided.embed(network, [5, 9, *ids[:start]]), ids[start:], decoder=front
        )
    layers = two_sided.random_key_values(network, 2, seed=6)
    state = model.prefix([KeyValuePrefix(tuple(layers))])
    return state, lambda ids, start: two_sided.opened_logits(
        network, two_sided.embed(network, ids[:start]), ids[start:], layers=layers
    )


@pytest.mark.parametrize("architecture", ["t5", "bart", "pegasus"])
def test_answers_of_a_decoder_have_the_logits_of_rows_alone(architecture: str) -> None:
    model = tiny_model(architecture)
    prompts = [answered(model, kind) for kind in ("encoder", "both", "key values")]
    assert worst_difference(model, guests(prompts)) <= TOLERANCE


@pytest.mark.parametrize("architecture", ["jamba", "t5"])
def test_rows_are_read_one_after_the_other(architecture: str) -> None:
    model = tiny_model(architecture)
    rows, state = model.running_rows(), model.prefix([[5, 6]])
    ids = [random_ids(length, seed=length) for length in (3, 6, 1)]
    readings = [rows.begin(state, row) for row in ids]
    together = rows.read_together(readings)
    alone = [rows.read(rows.begin(state, row), 1) for row in ids]
    assert torch.equal(together, torch.cat(alone))
    assert all(reading.is_read for reading in readings)


def test_an_encoder_says_nothing_before_the_row_and_needs_one() -> None:
    model = tiny_model("t5")
    rows = model.running_rows()
    state = model.prefix([[5, 6]])
    assert rows.logits_before(rows.begin(state, [7])) is None
    with pytest.raises(PromptError, match="at least one token"):
        rows.begin(state, [])


def swapped(step: Sequence[int]) -> list[int]:
    return list(reversed(step))


def test_a_token_given_to_another_row_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("t5")
    rows = model.running_rows()
    step = rows.step

    def crossed(tokens: Sequence[int]) -> Tensor:
        return step(swapped(tokens))

    monkeypatch.setattr(rows, "step", crossed)
    visitors: list[Guest] = guests([answered(model, "encoder")])
    assert worst_difference(model, visitors, rows) > 1e-2
