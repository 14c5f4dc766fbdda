"""Prompts that offset the tokens of rows by position, against one unpadded row changed by hand."""

from functools import partial

import pytest
import torch
from torch import Tensor

from tests.models.test_instance import instance_prompt
from tests.tiny_models import BOS, RECURRENT, random_ids, tiny_model
from tests.unpadded_reference import (
    CHOICES,
    ROWS,
    choice_scores,
    greedy_answer,
    offset_row_logits,
    random_embeddings,
    relative_difference,
    row_logits,
)
from tuningfork.errors import PromptError
from tuningfork.models.artefacts import DecomposedPrompt, InputPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.offsets import add_offsets
from tuningfork.models.path import SamplingOptions, Segment
from tuningfork.models.prefix import backward_into

ARCHITECTURES = ("llama", "gpt2", "opt", "bloom", "gemma2", *RECURRENT)
AT = [[4, 6, 7], [0], [15, 16], [1, 2]]
"""Where the tokens of answers are predicted; the first of row 0 is an earlier turn."""
STARTS = [7, 1, 16, 2]
NUM_OFFSET = 8
"""Ends inside one row, behind the answer of another, and behind the whole of two."""


def decomposed_prompt(model: FrozenModel, *, seed: int = 5, num_virtual_tokens: int = 5) -> DecomposedPrompt:
    """A prompt whose offsets are as large as the embeddings."""
    front = model.embed([BOS, *random_ids(num_virtual_tokens - 1, seed=seed)]).float()
    up = random_embeddings(model.network, 3, seed)
    down = torch.randn(NUM_OFFSET, 3, generator=torch.Generator().manual_seed(seed))
    return DecomposedPrompt(front, down, up)


def only_its_tokens(prompt: DecomposedPrompt) -> InputPrompt:
    return InputPrompt(prompt.embeddings)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_logits_equal_one_unpadded_row_changed_by_hand(architecture: str) -> None:
    model = tiny_model(architecture)
    prompt = decomposed_prompt(model)
    with torch.no_grad():
        expected = torch.cat(
            [
                offset_row_logits(model.network, prompt, row, start)[at]
                for row, start, at in zip(ROWS, STARTS, AT, strict=True)
            ]
        )
        found = model.logits(ROWS, model.prefix([prompt]), AT)
        without = model.logits(ROWS, model.prefix([only_its_tokens(prompt)]), AT)
    assert (found - expected).abs().max() <= 1e-4
    assert (without - expected).abs().max() > 0.1


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_score_equals_the_sum_of_log_probabilities(architecture: str) -> None:
    model = tiny_model(architecture)
    prompt = decomposed_prompt(model)
    found = model.score(ROWS, model.prefix([prompt]), CHOICES)
    expected = choice_scores(partial(offset_row_logits, model.network, prompt))
    assert (found - expected).abs().max() <= 1e-4


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_greedy_answers_equal_one_unpadded_row_computed_again(architecture: str) -> None:
    model = tiny_model(architecture)
    prompt = decomposed_prompt(model)
    found = model.generate(ROWS, model.prefix([prompt]), SamplingOptions(max_new_tokens=4))
    for row, answer in zip(ROWS, found, strict=True):
        assert answer == greedy_answer(partial(offset_row_logits, model.network, prompt), row, 4)


def test_training_and_scoring_agree() -> None:
    model = tiny_model("llama")
    prefix, choice = model.prefix([decomposed_prompt(model)]), CHOICES[2]
    at = [range(len(row) - 1, len(row) + len(choice) - 1) for row in ROWS]
    with torch.no_grad():
        logits = model.logits([[*row, *choice[:-1]] for row in ROWS], prefix, at)
        expected = model.score(ROWS, prefix, [choice])[:, 0]
    learned = logits.log_softmax(dim=-1).view(len(ROWS), len(choice), -1)
    found = learned[:, range(len(choice)), choice].sum(dim=1)
    assert (found - expected).abs().max() <= 1e-4


@pytest.mark.parametrize("architecture", ["llama", "gemma2", *RECURRENT])
def test_gradients_equal_those_of_unpadded_rows(architecture: str) -> None:
    model = tiny_model(architecture)
    learned = ("embeddings", "down", "up")

    def gradients(prompt: DecomposedPrompt) -> list[Tensor]:
        return [getattr(prompt, name).grad for name in learned]

    def backward(logits: Tensor) -> None:
        logits.log_softmax(dim=-1)[:, 7].sum().backward()  # type: ignore[no-untyped-call]

    def leaves() -> DecomposedPrompt:
        prompt = decomposed_prompt(model).detached()
        for name in learned:
            getattr(prompt, name).requires_grad_(True)
        return prompt

    ours, theirs = leaves(), leaves()
    prefix = model.prefix([ours])
    detached = prefix.detached()
    for rows, at in ((ROWS[:2], AT[:2]), (ROWS[2:], AT[2:])):
        backward(model.logits(rows, detached, at))
    assert ours.up.grad is None
    backward_into(prefix, detached)
    for row, start, places in zip(ROWS, STARTS, AT, strict=True):
        backward(offset_row_logits(model.network, theirs, row, start)[places])
    for found, expected in zip(gradients(ours), gradients(theirs), strict=True):
        assert relative_difference([found], [expected]) <= 1e-4


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_each_row_may_have_a_prompt_of_its_own(architecture: str) -> None:
    model = tiny_model(architecture)
    first, second = (decomposed_prompt(model, seed=seed) for seed in (5, 6))
    prefixes = [model.prefix([prompt]) for prompt in (first, only_its_tokens(second), second, first)]
    with torch.no_grad():
        found = model.logits(ROWS, prefixes, AT)
        by_row = [
            offset_row_logits(model.network, first, ROWS[0], STARTS[0]),
            row_logits(model.network, second.embeddings, ROWS[1]),
            offset_row_logits(model.network, second, ROWS[2], STARTS[2]),
            offset_row_logits(model.network, first, ROWS[3], STARTS[3]),
        ]
    expected = torch.cat([logits[at] for logits, at in zip(by_row, AT, strict=True)])
    assert (found - expected).abs().max() <= 1e-4


def test_features_are_those_of_the_offset_tokens() -> None:
    model = tiny_model("llama")
    prompt = decomposed_prompt(model)
    found = model.features(ROWS, model.prefix([prompt]), (0,))
    for row, features in zip(ROWS, found, strict=True):
        tokens, count = model.embed(row).clone(), min(len(row), NUM_OFFSET)
        tokens[:count] += prompt.offsets[:count]
        assert (features - tokens.mean(dim=0)).abs().max() <= 1e-5


def test_token_i_moves_by_row_i_and_no_token_from_m_or_the_answer_on() -> None:
    offsets = torch.tensor([[1.0], [2.0], [3.0]])
    found = add_offsets(torch.zeros(3, 5, 1), [offsets], [5, 2, 0])
    assert found[..., 0].tolist() == [[1, 2, 3, 0, 0], [1, 2, 0, 0, 0], [0, 0, 0, 0, 0]]
    own = add_offsets(torch.zeros(3, 2, 1), [offsets, None, offsets * 10], [2, 2, 1])
    assert own[..., 0].tolist() == [[1, 2], [0, 0], [10, 0]]


def test_offsets_take_the_type_of_the_embeddings_and_leave_others_as_they_are() -> None:
    embeddings = torch.ones(2, 3, 1, dtype=torch.bfloat16)
    assert add_offsets(embeddings, [torch.ones(3, 1)], [3, 3]).dtype == torch.bfloat16
    assert add_offsets(embeddings, [None, None], [3, 3]) is embeddings


@pytest.mark.parametrize("architecture", ["llama", *RECURRENT])
def test_a_prompt_behind_other_segments_is_refused(architecture: str) -> None:
    model = tiny_model(architecture)
    prompt = decomposed_prompt(model)
    segment: Segment
    for segment in ([BOS], prompt):
        with pytest.raises(PromptError, match="a decomposed prompt must be the first segment: place the "):
            model.prefix([segment, prompt])


@pytest.mark.parametrize("architecture", ["llama", *RECURRENT])
def test_segments_behind_the_prompt_are_not_offset(architecture: str) -> None:
    model = tiny_model(architecture)
    prompt, more = decomposed_prompt(model), random_ids(3, seed=2)
    longer = DecomposedPrompt(torch.cat([prompt.embeddings, model.embed(more)]), prompt.down, prompt.up)
    with torch.no_grad():
        found = model.logits(ROWS, model.prefix([prompt, more]), AT)
        expected = model.logits(ROWS, model.prefix([longer]), AT)
    assert (found - expected).abs().max() <= 1e-4


@pytest.mark.parametrize("architecture", ["llama", *RECURRENT])
def test_a_number_of_prompts_that_fits_neither_all_rows_nor_each_is_refused(architecture: str) -> None:
    model = tiny_model(architecture)
    prefix = model.prefix([decomposed_prompt(model)])
    with pytest.raises(ValueError, match="4 rows need 1 prefix or 4"):
        model.logits(ROWS, [prefix] * 2, AT)


def test_a_prompt_of_another_width_is_refused() -> None:
    wide = DecomposedPrompt(torch.zeros(2, 33), torch.zeros(4, 1), torch.zeros(1, 33))
    with pytest.raises(PromptError, match="the soft prompt is 33 wide, the model's embeddings are 32"):
        tiny_model("llama").prefix([wide])


def test_an_instance_prompt_is_not_overlooked_behind_another_prompt() -> None:
    model = tiny_model("llama")
    front = decomposed_prompt(model)
    prefixes = [model.prefix([prompt]) for prompt in (front, instance_prompt(model))]
    with pytest.raises(PromptError, match="cannot be mixed in one batch"):
        model.logits(ROWS[:2], prefixes, [[0], [0]])
