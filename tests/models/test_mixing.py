import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.tiny_models import build_model, random_ids, tiny_model
from tests.unpadded_reference import (
    CHOICES,
    ROWS,
    choice_scores,
    expected_answer,
    make_prompt,
    random_embeddings,
    row_logits,
    text_key_values,
)
from tuningfork.errors import ContextLengthError, PromptError
from tuningfork.models.artefacts import HeadedPrefix, InputPrompt, InstancePrompt
from tuningfork.models.classification_head import ClassificationHead
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.mixing import mixed_batches
from tuningfork.models.path import SamplingOptions, Segment
from tuningfork.models.prefix import PrefixState

LENGTHS = (4, 7, 4, 5)
"""Of the prompts of `ROWS`: two of them may share a batch."""
STATES = [PrefixState(length) for length in LENGTHS]


@given(
    st.lists(st.tuples(st.integers(1, 9), st.sampled_from(range(len(STATES)))), min_size=2, max_size=30),
    st.integers(1, 7),
)
def test_every_row_is_in_one_batch_with_its_own_prompt(rows: list[tuple[int, int]], size: int) -> None:
    lengths, prefixes = [length for length, _ in rows], [STATES[which] for _, which in rows]
    batches = mixed_batches(lengths, prefixes, size)
    assert sorted(index for indices, _ in batches for index in indices) == list(range(len(rows)))
    for indices, states in batches:
        assert 1 <= len(indices) <= size
        assert len({prefixes[index].num_tokens for index in indices}) == 1
        each = list(states) * len(indices) if len(states) == 1 else states
        assert [prefixes[index] for index in indices] == list(each)
    # Rows with one prompt are run behind a view of it, not behind copies.
    assert all(len(states) == 1 or len(set(map(id, states))) > 1 for _, states in batches)


def test_one_prompt_for_all_rows_is_given_on_as_it_is() -> None:
    assert mixed_batches([3, 1, 2], STATES[:1], 2) == [([1, 2], STATES[:1]), ([0], STATES[:1])]


def test_a_prompt_that_has_to_run_alone_shares_no_batch() -> None:
    headed = [PrefixState(4, head=ClassificationHead(torch.zeros(2, 3), torch.zeros(2))) for _ in range(2)]
    rows = [headed[0], STATES[0], headed[1], headed[0]]
    batches = {tuple(indices): list(states) for indices, states in mixed_batches([1] * 4, rows, 9)}
    assert batches == {(0, 3): [headed[0]], (1,): [STATES[0]], (2,): [headed[1]]}


def test_a_number_of_prompts_that_no_rows_have_is_refused() -> None:
    with pytest.raises(ValueError, match="3 rows need 1 prefix or 3, found 2"):
        mixed_batches([1, 1, 1], STATES[:2], 4)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2", "mistral", "bloom", "mamba"])
@torch.no_grad()
def test_rows_behind_prompts_of_their_own_are_as_unpadded_ones(architecture: str) -> None:
    model = tiny_model(architecture)
    prompts = [make_prompt(model, "input", length) for length in LENGTHS]
    prefixes = [model.prefix(prompt.segments) for prompt in prompts]
    scores = model.score(ROWS, prefixes, CHOICES, batch_size=3)
    answers = model.generate(ROWS, prefixes, SamplingOptions(max_new_tokens=5), batch_size=3)
    for index, (row, prompt) in enumerate(zip(ROWS, prompts, strict=True)):
        embedded = prompt.embedded

        def logits_of(ids: object, _: int, embedded: torch.Tensor = embedded) -> torch.Tensor:
            return row_logits(model.network, embedded, ids)  # type: ignore[arg-type]

        expected = choice_scores(logits_of, [row])[0]
        assert torch.allclose(scores[index], expected, atol=1e-4)
        assert answers[index] == expected_answer(model.network, embedded, row, 5)


@torch.no_grad()
def test_prompts_with_heads_and_instance_prompts_are_run_beside_others() -> None:
    model = tiny_model("llama")
    width = model.hidden_size
    generator = torch.Generator().manual_seed(4)
    heads = [
        ClassificationHead(torch.randn(len(CHOICES), width, generator=generator), torch.zeros(len(CHOICES)))
        for _ in range(2)
    ]
    keys = text_key_values(model, random_ids(4, seed=9))
    instance = InstancePrompt(
        front=random_embeddings(model.network, 4, seed=1),
        shift=random_embeddings(model.network, 2, seed=2),
        down=torch.randn(2 * width, 3, generator=generator) * 0.1,
        up=torch.randn(3, 2 * width, generator=generator) * 0.1,
        mean=torch.zeros(2 * width),
        scale=torch.ones(2 * width),
        layers_read=(0, 2),
    )
    prompts: list[Segment] = [HeadedPrefix(keys, heads[0]), HeadedPrefix(keys, heads[1]), instance, keys]
    prefixes = [model.prefix([prompt]) for prompt in prompts]
    rows = [ROWS[0]] * 4
    alone = torch.cat([model.score(rows[:1], prefix, CHOICES) for prefix in prefixes])
    assert torch.allclose(model.score(rows, prefixes, CHOICES), alone, atol=1e-5)
    assert (alone[0] - alone[1]).abs().max() > 0.1
    with pytest.raises(PromptError, match="heads of their own cannot be mixed in one batch"):
        model.choice_log_probabilities(rows, prefixes, CHOICES)


def test_the_longest_row_counts_behind_its_own_prompt() -> None:
    model: FrozenModel = build_model("llama", max_position_embeddings=24)
    long, short = (
        model.prefix([InputPrompt(random_embeddings(model.network, count, seed=3))]) for count in (14, 3)
    )
    rows = [random_ids(7, seed=1), random_ids(17, seed=2)]
    assert model.score(rows, [long, short], CHOICES).isfinite().all()
    with pytest.raises(ContextLengthError, match="maximum is 24"):
        model.score(rows, [short, long], CHOICES)
