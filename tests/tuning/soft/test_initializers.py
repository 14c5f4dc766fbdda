from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.tiny_models import (
    BOS,
    EOS,
    PAD,
    VOCABULARY_SIZE,
    build_network,
    build_tokenizer,
    cast_network,
    tiny_model,
)
from tuningfork.errors import PromptError
from tuningfork.models.frozen import FrozenModel
from tuningfork.tuning.soft.initializers import INITIALIZERS, Start, initial_embeddings

TEXT = [BOS, 40, 17, EOS, 63]
LABELS = [[50], [51, 52, 53], [54, 55]]
SPECIAL = range(PAD + 1)
PRETRAINED = torch.arange(64.0).reshape(2, 32)


def embeddings(
    name: str,
    num_virtual_tokens: int = 5,
    *,
    model: FrozenModel | None = None,
    text_ids: Sequence[int] = TEXT,
    label_ids: Sequence[Sequence[int]] = LABELS,
    seed: int = 0,
    pretrained: Tensor | None = PRETRAINED,
) -> Tensor:
    start = Start(
        model=model or tiny_model("llama"),
        num_virtual_tokens=num_virtual_tokens,
        text_ids=text_ids,
        label_ids=label_ids,
        generator=torch.Generator().manual_seed(seed),
        pretrained=pretrained,
    )
    return initial_embeddings(name, start)


def tokens(found: Tensor, model: FrozenModel | None = None) -> list[int]:
    """The tokens whose embeddings the rows of `found` are."""
    table = (model or tiny_model("llama")).embed(range(VOCABULARY_SIZE)).float()
    matches = [(table == row).all(dim=1).nonzero().flatten().tolist() for row in found]
    assert all(len(match) == 1 for match in matches), matches
    return [match[0] for match in matches]


@pytest.mark.parametrize("name", INITIALIZERS)
@pytest.mark.parametrize("num_virtual_tokens", [1, 3, 40, 200])
def test_the_shape_is_as_asked_in_float32(name: str, num_virtual_tokens: int) -> None:
    found = embeddings(name, num_virtual_tokens)
    assert found.shape == (num_virtual_tokens, 32)
    assert found.dtype == torch.float32
    assert not found.requires_grad
    assert found.isfinite().all()


@pytest.mark.parametrize("name", INITIALIZERS)
def test_a_bfloat16_model_gives_float32_embeddings(name: str) -> None:
    network = cast_network(build_network("llama"), torch.bfloat16)
    found = embeddings(name, model=FrozenModel(network, build_tokenizer(), name="bfloat16"))
    assert found.dtype == torch.float32


def test_text_stands_verbatim_where_it_fits() -> None:
    assert tokens(embeddings("text", len(TEXT))) == TEXT


def test_longer_text_is_cut() -> None:
    assert tokens(embeddings("text", 3)) == TEXT[:3]


def test_shorter_text_is_repeated_without_special_tokens() -> None:
    assert tokens(embeddings("text", 10)) == [*TEXT, 40, 17, 63, 40, 17]


def test_text_of_special_tokens_alone_is_repeated_with_them() -> None:
    assert tokens(embeddings("text", 3, text_ids=[BOS])) == [BOS] * 3


@given(
    text_ids=st.lists(st.integers(0, VOCABULARY_SIZE - 1), min_size=1, max_size=12),
    num_virtual_tokens=st.integers(1, 40),
)
def test_text_is_always_in_front_and_repeats_only_itself(
    text_ids: list[int], num_virtual_tokens: int
) -> None:
    found = tokens(embeddings("text", num_virtual_tokens, text_ids=text_ids))
    assert found[: len(text_ids)] == text_ids[:num_virtual_tokens]
    repeated = found[len(text_ids) :]
    if any(token not in SPECIAL for token in text_ids):
        assert not set(repeated) & set(SPECIAL)
    assert set(repeated) <= set(text_ids)


def test_pretrained_tokens_stand_before_the_text() -> None:
    found = embeddings("pretrained", 2 + len(TEXT))
    assert torch.equal(found[:2], PRETRAINED)
    assert tokens(found[2:]) == TEXT
    assert torch.equal(embeddings("pretrained", 1), PRETRAINED[:1])
    with pytest.raises(PromptError, match="the model ships none for this type of task; use text"):
        embeddings("pretrained", pretrained=None)


def test_vocabulary_draws_different_ordinary_tokens() -> None:
    every = VOCABULARY_SIZE - len(SPECIAL)
    found = tokens(embeddings("vocabulary", every))
    assert sorted(found) == list(range(PAD + 1, VOCABULARY_SIZE))
    assert found != sorted(found)


def test_vocabulary_starts_anew_when_it_runs_out() -> None:
    every = VOCABULARY_SIZE - len(SPECIAL)
    found = tokens(embeddings("vocabulary", every + 4))
    assert found[every:] == found[:4]


def test_vocabulary_leaves_out_rows_that_no_token_has() -> None:
    padded = FrozenModel(build_network("llama", vocab_size=128), build_tokenizer(), name="padded")
    found = embeddings("vocabulary", 400, model=padded)
    unused = padded.embed(range(VOCABULARY_SIZE, 128))
    assert not (found[:, None] == unused[None]).all(dim=2).any()


@pytest.mark.parametrize("name", ["vocabulary", "random"])
def test_draws_follow_the_seed(name: str) -> None:
    assert torch.equal(embeddings(name, seed=1), embeddings(name, seed=1))
    assert not torch.equal(embeddings(name, seed=1), embeddings(name, seed=2))


def test_labels_come_first_each_as_the_mean_of_its_tokens() -> None:
    model = tiny_model("llama")
    found = embeddings("labels", 6, seed=4)
    for row, ids in zip(found, LABELS, strict=False):
        expected = torch.stack([model.embed([token])[0] for token in ids]).sum(dim=0) / len(ids)
        torch.testing.assert_close(row, expected)
    assert not set(tokens(found[3:])) & set(SPECIAL)


def test_fewer_virtual_tokens_than_labels_take_the_first_labels() -> None:
    assert torch.equal(embeddings("labels", 2), embeddings("labels", 3)[:2])


@pytest.mark.parametrize("architecture", ["llama", "gemma3"])
def test_noise_is_as_large_as_the_models_own_embeddings(architecture: str) -> None:
    model = tiny_model(architecture)
    own = model.embed(range(VOCABULARY_SIZE))
    found = embeddings("random", 20_000, model=model)
    torch.testing.assert_close(found.std(dim=0), own.std(dim=0), rtol=0.03, atol=0)
    # Four standard errors.
    assert ((found.mean(dim=0) - own.mean(dim=0)).abs() < 4 * own.std(dim=0) / 20_000**0.5).all()


def test_text_without_a_text_prompt_is_refused() -> None:
    with pytest.raises(PromptError, match="from text needs a text prompt; the task has none: use vocabulary"):
        embeddings("text", text_ids=[])


def test_labels_without_a_classification_task_are_refused() -> None:
    with pytest.raises(PromptError, match="from labels needs a classification task; use text or vocabulary"):
        embeddings("labels", label_ids=[])


def test_an_unknown_initialisation_is_refused() -> None:
    with pytest.raises(
        PromptError, match="unknown initialisation 'zeros': expected one of text, vocabulary, labels, random"
    ):
        embeddings("zeros")
