"""Heads, and prompts that have one, against one unpadded row read by hand."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.tiny_models import (
    BOS,
    MAXIMUM_LENGTH,
    build_model,
    build_network,
    build_tokenizer,
    cast_network,
    random_ids,
    tiny_model,
)
from tests.unpadded_reference import ROWS, last_state_after, relative_difference, text_key_values
from tuningfork.errors import ContextLengthError, PromptError
from tuningfork.models.artefacts import HeadedPrefix, KeyValuePrefix
from tuningfork.models.classification_head import ClassificationHead
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.path import SamplingOptions
from tuningfork.models.prefix import PrefixState, backward_into

ARCHITECTURES = ("llama", "gpt2", "opt", "bloom", "gemma2")
CHOICES = ((11,), (11, 23, 40), (60, 61))
LABELS = torch.tensor([2, 0, 1, 1])


def random_head(num_labels: int = len(CHOICES), width: int = 32) -> ClassificationHead:
    """A head whose logits have a standard deviation of several nats."""
    generator = torch.Generator().manual_seed(4)
    return ClassificationHead(
        torch.randn(num_labels, width, generator=generator),
        torch.randn(num_labels, generator=generator),
    )


def headed_prefix(model: FrozenModel) -> HeadedPrefix:
    keys_and_values = text_key_values(model, [BOS, *random_ids(5, seed=31)])
    return HeadedPrefix(keys_and_values, random_head(width=model.hidden_size))


def pairs_of(prefix: KeyValuePrefix) -> list[tuple[Tensor, Tensor]]:
    return [pair for pair in prefix.layers if pair is not None]


def tensors_of(prompt: HeadedPrefix) -> list[Tensor]:
    return [*(tensor for pair in pairs_of(prompt.prefix) for tensor in pair), *prompt.head.tensors()]


def expected_logits(model: FrozenModel, prompt: HeadedPrefix) -> Tensor:
    """What the head says (B, C) of `ROWS`, one at a time, before its softmax."""
    states = [last_state_after(model.network, pairs_of(prompt.prefix), row) for row in ROWS]
    return torch.stack([prompt.head.weight @ state + prompt.head.bias for state in states])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_scores_of_ragged_rows_equal_one_unpadded_row_by_hand(architecture: str) -> None:
    model = tiny_model(architecture)
    prompt = headed_prefix(model)
    with torch.no_grad():
        logits = expected_logits(model, prompt)
    assert logits.std() > 1
    expected = logits - logits.exp().sum(dim=1, keepdim=True).log()
    prefix = model.prefix([prompt])
    for batch_size in (1, len(ROWS)):
        found = model.score(ROWS, prefix, CHOICES, batch_size=batch_size)
        assert (found - expected).abs().max() <= 1e-4
    words = model.score(ROWS, model.prefix([prompt.prefix]), CHOICES).log_softmax(dim=1)
    assert (words - expected).abs().max() > 0.1


def test_a_head_reads_what_the_language_model_head_would_where_that_is_narrower() -> None:
    model = build_model("opt", word_embed_proj_dim=16)
    prompt = headed_prefix(model)
    with torch.no_grad():
        expected = expected_logits(model, prompt).log_softmax(dim=1)
    found = model.score(ROWS, model.prefix([prompt]), CHOICES)
    assert prompt.head.weight.shape == (3, 16)
    assert (found - expected).abs().max() <= 1e-4


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradients_equal_those_of_unpadded_rows(architecture: str) -> None:
    model = tiny_model(architecture)

    def leaves() -> HeadedPrefix:
        prompt = headed_prefix(model)
        for tensor in tensors_of(prompt):
            tensor.requires_grad_(True)
        return prompt

    ours, theirs = leaves(), leaves()
    prefix = model.prefix([ours])
    detached = prefix.detached()
    for part in (slice(0, 1), slice(1, None)):
        scores = model.choice_log_probabilities(ROWS[part], detached, CHOICES)
        torch.autograd.backward(-scores.gather(1, LABELS[part, None]).sum())
    assert all(tensor.grad is None for tensor in tensors_of(ours))
    backward_into(prefix, detached)
    loss = torch.nn.functional.cross_entropy(expected_logits(model, theirs), LABELS, reduction="sum")
    torch.autograd.backward(loss)
    gradients = [[tensor.grad for tensor in tensors_of(prompt)] for prompt in (ours, theirs)]
    for found, expected in zip(*gradients, strict=True):
        assert found is not None
        assert expected is not None
        assert relative_difference([found], [expected]) <= 1e-4


def test_words_behind_the_prefix_move_the_state_that_is_read() -> None:
    model = tiny_model("llama")
    prompt, words = headed_prefix(model), random_ids(3, seed=8)
    behind = model.score(ROWS, model.prefix([prompt, words]), CHOICES)
    in_row = model.score([[*words, *row] for row in ROWS], model.prefix([prompt]), CHOICES)
    assert (behind - in_row).abs().max() <= 1e-4


def test_no_choice_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")
    prefix = model.prefix([headed_prefix(model)])
    shapes: list[tuple[int, ...]] = []
    decoder = model.network.base_model
    forward = decoder.forward

    def recording(**arguments: Any) -> Any:
        shapes.append(tuple(arguments["inputs_embeds"].shape[:2]))
        return forward(**arguments)

    monkeypatch.setattr(decoder, "forward", recording)
    model.score(ROWS, prefix, CHOICES)
    assert shapes == [(len(ROWS), max(map(len, ROWS)))]


def test_choices_that_are_not_run_need_no_room() -> None:
    model = tiny_model("llama")
    prompt = headed_prefix(model)
    row = random_ids(MAXIMUM_LENGTH - prompt.num_virtual_tokens, seed=2)
    assert model.score([row], model.prefix([prompt]), CHOICES).shape == (1, 3)
    with pytest.raises(ContextLengthError, match=f"= {MAXIMUM_LENGTH + 1} tokens"):
        model.score([[*row, 5]], model.prefix([prompt]), CHOICES)


def test_lengths_of_choices_do_not_bend_what_a_head_says() -> None:
    model = tiny_model("llama")
    prompt = headed_prefix(model)

    def normalized(prefix: PrefixState) -> Tensor:
        scores = model.score(ROWS, prefix, CHOICES)
        found = model.score(ROWS, prefix, CHOICES, normalizes_length=True)
        one_batch = model.choice_log_probabilities(ROWS, prefix, CHOICES, normalizes_length=True)
        assert torch.allclose(found, one_batch, atol=1e-5)
        return found / scores

    assert torch.equal(normalized(model.prefix([prompt])), torch.ones(4, 3))
    of_words = normalized(model.prefix([prompt.prefix]))
    assert torch.allclose(of_words, torch.tensor([1, 1 / 3, 1 / 2]).expand(4, 3))


def test_a_head_is_float32_whatever_the_model_runs_in() -> None:
    network = cast_network(build_network("llama"), torch.bfloat16)
    model = FrozenModel(network, build_tokenizer(), name="bfloat16")
    prompt = headed_prefix(tiny_model("llama"))
    # Differences of bfloat16's size between labels would be lost if the head were held in it.
    fine = ClassificationHead(torch.zeros(3, 32), torch.tensor([100.0, 100.001, 100.002]))
    scores = model.score(ROWS, model.prefix([replace(prompt, head=fine)]), CHOICES)
    assert torch.allclose(scores[:, 2] - scores[:, 0], torch.full((4,), 0.002), atol=1e-4)
    held = model.prefix([prompt]).head
    assert held is not None
    assert all(map(torch.equal, held.tensors(), prompt.head.tensors()))


def test_a_head_of_another_width_or_place_or_number_of_labels_is_refused() -> None:
    model = tiny_model("llama")
    prompt = headed_prefix(model)
    with pytest.raises(PromptError, match="the prompt's head reads states 7 wide, the model's are 32"):
        model.prefix([replace(prompt, head=random_head(width=7))])
    with pytest.raises(PromptError, match="a key-value prefix must be the first segment"):
        model.prefix([[BOS], prompt])
    prefix = model.prefix([prompt])
    expected = "head tells 3 labels apart, found 2 choices; use it with the labels it was tuned for"
    with pytest.raises(PromptError, match=expected):
        model.score(ROWS, prefix, CHOICES[:2])
    with pytest.raises(PromptError, match=expected):
        model.choice_log_probabilities(ROWS, prefix, CHOICES[:2])


def test_a_prompt_with_a_head_says_no_words() -> None:
    model = tiny_model("llama")
    prefix = model.prefix([headed_prefix(model)])
    says_no_words = "tells labels apart and says no words; score its labels, or tune a prompt without a head"
    with pytest.raises(PromptError, match=says_no_words):
        model.generate(ROWS, prefix, SamplingOptions(max_new_tokens=1))
    with pytest.raises(PromptError, match=says_no_words):
        model.logits(ROWS[:2], [model.prefix([[BOS]]), prefix], [[0], [0]])


@pytest.mark.parametrize(
    ("weight", "bias", "message"),
    [
        ((3,), (3,), r"the weight of a head must be \(C, H\), found shape \(3,\)"),
        ((3, 0), (3,), r"the weight of a head must be \(C, H\), found shape \(3, 0\)"),
        ((3, 4), (4,), r"the bias of a head must be \(3,\), found shape \(4,\)"),
        ((3, 4), (3, 1), r"the bias of a head must be \(3,\), found shape \(3, 1\)"),
    ],
)
def test_parts_of_a_head_fit_together(weight: tuple[int, ...], bias: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClassificationHead(torch.zeros(weight), torch.zeros(bias))
