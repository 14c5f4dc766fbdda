"""Several prompts in one forward, of any lengths, against one unpadded row each."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.tiny_models import ATTENDING, SLIDING_WINDOW, random_ids, tiny_model
from tests.unpadded_reference import (
    CHOICES,
    EVERYWHERE,
    ROWS,
    expected_answer,
    expected_scores,
    random_embeddings,
    relative_difference,
    row_logits,
)
from tuningfork.errors import PromptError
from tuningfork.models import shared
from tuningfork.models.artefacts import (
    DecomposedPrompt,
    InputPrompt,
    KeyValuePrefix,
    PlacedPrompt,
    SoftPrompt,
)
from tuningfork.models.classification_head import ClassificationHead
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.path import SamplingOptions, TokenChooser
from tuningfork.models.prefix import PrefixState, backward_into_all, expand_prefix

TOLERANCE = 1e-4
LENGTHS = (4, 1, SLIDING_WINDOW + 3, 2)
SAMPLING = SamplingOptions(max_new_tokens=6)


def embedded_prompts(model: FrozenModel, lengths: Sequence[int] = LENGTHS) -> list[Tensor]:
    return [random_embeddings(model.network, length, seed=seed) for seed, length in enumerate(lengths)]


def largest(difference: Tensor) -> float:
    return float(difference.abs().max())


@pytest.mark.parametrize("architecture", ATTENDING)
def test_logits_behind_prompts_of_different_lengths(architecture: str) -> None:
    model = tiny_model(architecture)
    prompts = embedded_prompts(model)
    prefixes = model.prefixes([InputPrompt(prompt) for prompt in prompts])
    assert [prefix.num_tokens for prefix in prefixes] == list(LENGTHS)
    found = model.logits(ROWS, prefixes, EVERYWHERE)
    expected = [row_logits(model.network, prompt, row) for prompt, row in zip(prompts, ROWS, strict=True)]
    assert largest(found - torch.cat(expected)) <= TOLERANCE


@pytest.mark.parametrize("packs", [True, False])
@pytest.mark.parametrize("architecture", ATTENDING)
def test_scores_behind_prompts_of_different_lengths(
    architecture: str, packs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model(architecture)
    path: Any = model._path
    monkeypatch.setattr(path, "packs_choices", path.packs_choices and packs)
    prompts = embedded_prompts(model)
    found = model.choice_log_probabilities(
        ROWS, model.prefixes([InputPrompt(prompt) for prompt in prompts]), CHOICES
    )
    for place, prompt in enumerate(prompts):
        assert largest(found[place] - expected_scores(model.network, prompt)[place]) <= TOLERANCE


@torch.no_grad()
@pytest.mark.parametrize("architecture", ATTENDING)
def test_greedy_answers_behind_prompts_of_different_lengths(architecture: str) -> None:
    model = tiny_model(architecture)
    prompts = embedded_prompts(model)
    chooser = TokenChooser(SAMPLING, range(len(ROWS)))
    found = model._path.generate(ROWS, model.prefixes([InputPrompt(p) for p in prompts]), chooser)
    expected = [
        expected_answer(model.network, prompt, row, SAMPLING.max_new_tokens)
        for prompt, row in zip(prompts, ROWS, strict=True)
    ]
    assert found == expected


def of_every_kind(model: FrozenModel) -> list[SoftPrompt]:
    """Prompts whose rows may be mixed, of different lengths; the first two share a forward."""
    tokens = embedded_prompts(model, (3, 5, 4, 2, 6))
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        layers = model.prefix([InputPrompt(tokens[2])]).layers
    pairs = [pair for pair in layers if pair is not None]
    down, up = (torch.randn(size, generator=generator) for size in ((5, 2), (2, tokens[4].shape[1])))
    prompts: list[SoftPrompt] = [
        InputPrompt(tokens[0]),
        InputPrompt(tokens[1]),
        KeyValuePrefix(tuple((keys[0], values[0]) for keys, values in pairs)),
        PlacedPrompt(tokens[3], (7, -1, 9)),
        DecomposedPrompt(tokens[4], down, up),
    ]
    for prompt in prompts:
        for tensor in prompt.tensors():
            tensor.requires_grad_(True)
    return prompts


def mixed_rows() -> list[list[int]]:
    """One row for each of these prompts; the fourth has a place inside the row."""
    first, second, third, last = (random_ids(length, seed=length) for length in (9, 4, 7, 3))
    return [first, second, third, [5, 6, -2, 8], last]


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2", "bloom"])
def test_each_prompt_of_a_batch_gets_the_gradient_it_would_get_alone(architecture: str) -> None:
    model, rows = tiny_model(architecture), mixed_rows()
    together, alone = of_every_kind(model), of_every_kind(model)
    weights = torch.linspace(1, 2, len(rows))

    prefixes = model.prefixes(together)
    leaves = [prefix.detached() for prefix in prefixes]
    logits = model.logits(rows, leaves, [[len(row) - 1] for row in rows])
    losses = -logits.log_softmax(dim=-1)[:, 11]
    torch.autograd.backward((losses * weights).sum())
    backward_into_all(prefixes, leaves)

    for place, prompt in enumerate(alone):
        logits = model.logits([rows[place]], model.prefix([prompt]), [[len(rows[place]) - 1]])
        loss = -logits.log_softmax(dim=-1)[0, 11]
        assert losses[place].item() == pytest.approx(loss.item(), rel=1e-4)
        torch.autograd.backward(loss * weights[place])
        found = [tensor.grad for tensor in together[place].tensors()]
        expected = [tensor.grad for tensor in prompt.tensors()]
        assert relative_difference(found, expected) < 1e-4  # type: ignore[arg-type]


def test_prompts_of_one_kind_are_read_in_one_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")
    calls: list[int] = []
    path: Any = model._path
    call = path._call

    def counted(embeddings: Tensor, *arguments: Any) -> Any:
        calls.append(len(embeddings))
        return call(embeddings, *arguments)

    monkeypatch.setattr(path, "_call", counted)
    model.prefixes([InputPrompt(prompt) for prompt in embedded_prompts(model)])
    assert calls == [len(LENGTHS)]


def test_words_that_no_prompt_changes_are_read_once_for_all_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")
    tokens = embedded_prompts(model, (2, 2))
    prompts = [PlacedPrompt(token, (7, 9)) for token in tokens]
    rows = [[5, 6, -1, -2, 8], [5, 6, -1, -2, 8], [3, -2, -1]]
    owners = [0, 1, 1]
    expected = [
        model.logits([row], model.prefix([prompts[owner]]), [[len(row) - 1]])
        for row, owner in zip(rows, owners, strict=True)
    ]
    with model.keeping_contexts(2**20) as kept:
        prefixes = model.prefixes(prompts)
        found = model.logits(rows, [prefixes[owner] for owner in owners], [[len(row) - 1] for row in rows])
    assert len(kept) == 2
    assert largest(found - torch.cat(expected)) <= TOLERANCE


def plant_uncounted_padding(prefixes: Sequence[PrefixState], rows: int, dtype: torch.dtype) -> Any:
    layers, padding = expand_prefix(prefixes, rows, dtype)
    return layers, None if padding is None else torch.zeros_like(padding)


def plant_rotated_owners(prefixes: Sequence[PrefixState], rows: int, dtype: torch.dtype) -> Any:
    return expand_prefix([*prefixes[1:], prefixes[0]], rows, dtype)


@pytest.mark.parametrize("plant", [plant_uncounted_padding, plant_rotated_owners])
def test_planted_faults_would_be_seen(plant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")
    prompts = embedded_prompts(model)
    prefixes = model.prefixes([InputPrompt(prompt) for prompt in prompts])
    right = model.logits(ROWS, prefixes, EVERYWHERE)
    monkeypatch.setattr(shared, "expand_prefix", plant)
    assert largest(model.logits(ROWS, prefixes, EVERYWHERE) - right) > 1e-2


def test_rows_whose_prompts_have_heads_are_not_mixed() -> None:
    model = tiny_model("llama")
    head = ClassificationHead(torch.zeros(len(CHOICES), model.hidden_size), torch.zeros(len(CHOICES)))
    prefixes = [PrefixState(0, head=head), PrefixState(0)]
    with pytest.raises(PromptError, match="heads of their own cannot be mixed"):
        model.choice_log_probabilities(ROWS[:2], prefixes, CHOICES)
