from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from tests.tiny_models import (
    ATTENDING,
    BOS,
    MAXIMUM_LENGTH,
    PAD,
    RECURRENT,
    VOCABULARY_SIZE,
    build_model,
    build_network,
    build_tokenizer,
    random_ids,
    tiny_model,
)
from tests.unpadded_reference import (
    EVERYWHERE,
    ROWS,
    label_loss,
    make_prompt,
    random_embeddings,
    relative_difference,
    text_key_values,
)
from tuningfork.errors import ContextLengthError, PromptError
from tuningfork.models.artefacts import InputPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.path import SamplingOptions
from tuningfork.models.prefix import backward_into

ids = st.integers(PAD + 1, VOCABULARY_SIZE - 1)
ragged_rows = st.lists(st.lists(ids, min_size=1, max_size=12), min_size=1, max_size=5)
ragged_choices = st.lists(st.lists(ids, min_size=1, max_size=4), min_size=1, max_size=3)


@pytest.fixture
def model() -> FrozenModel:
    return tiny_model("llama")


def test_what_the_model_says_of_itself(model: FrozenModel) -> None:
    assert model.name == "tiny-llama"
    assert model.device == torch.device("cpu")
    assert model.dtype == torch.float32
    assert model.hidden_size == 32
    assert model.vocabulary_size == VOCABULARY_SIZE
    assert model.maximum_length == MAXIMUM_LENGTH
    assert model.num_parameters == sum(weight.numel() for weight in model.network.parameters())
    assert model.embed([5, 6, 7]).shape == (3, 32)


@pytest.mark.parametrize("architecture", ["bloom", "mamba"])
def test_a_model_may_have_no_maximum_length(architecture: str) -> None:
    assert tiny_model(architecture).maximum_length is None


@pytest.mark.parametrize("architecture", [*ATTENDING, *RECURRENT])
@pytest.mark.parametrize("kind", ["tokens", "input"])
def test_logits_inside_the_prompt_are_those_of_the_prompt_alone(architecture: str, kind: str) -> None:
    model = tiny_model(architecture)
    prompt = make_prompt(model, kind, 9)
    prefix = model.prefix(prompt.segments)
    with torch.no_grad():
        expected = model.network(inputs_embeds=prompt.embedded[None], use_cache=False).logits[0]
        for at in ([0, 8, 3], range(9), []):
            found = model.prompt_logits(prefix, at)
            assert found.shape == (len(at), VOCABULARY_SIZE)
            assert torch.allclose(found, expected[list(at)], atol=1e-4)


@pytest.mark.parametrize("architecture", ["llama", "gemma2", *RECURRENT])
def test_logits_inside_the_prompt_send_their_gradient_through_the_prompt(architecture: str) -> None:
    model, labels = tiny_model(architecture), torch.tensor(random_ids(3, seed=8))
    virtual = random_embeddings(model.network, 6, seed=2).requires_grad_()
    prefix = model.prefix([InputPrompt(virtual)])
    leaves = prefix.detached()
    torch.autograd.backward(cross_entropy(model.prompt_logits(leaves, [1, 4, 5]), labels))
    assert virtual.grad is None
    backward_into(prefix, leaves)
    whole = model.network(inputs_embeds=virtual[None], use_cache=False).logits[0]
    expected = torch.autograd.grad(cross_entropy(whole[[1, 4, 5]], labels), [virtual])
    assert virtual.grad is not None
    assert relative_difference([virtual.grad], expected) < 1e-4


def test_logits_of_tokens_that_are_not_there_are_refused(model: FrozenModel) -> None:
    prefix = model.prefix([[BOS, 5, 6]])
    for position in (-1, 3):
        with pytest.raises(ValueError, match=rf"a prompt of 3 tokens has no position \[0, {position}\]"):
            model.prompt_logits(prefix, [0, position])


def test_keys_and_values_have_no_logits_but_what_follows_them_has(model: FrozenModel) -> None:
    ids = [BOS, *random_ids(5, seed=1)]
    expected = model.prompt_logits(model.prefix([ids]), [4, 5])
    keys_and_values = text_key_values(model, ids[:4])
    behind = model.prefix([keys_and_values, ids[4:]])
    assert torch.allclose(model.prompt_logits(behind, [4, 5]), expected, atol=1e-4)
    for prefix in (behind, model.prefix([keys_and_values])):
        with pytest.raises(PromptError, match="the first 4 virtual tokens are keys and values, which have"):
            model.prompt_logits(prefix, [3])


@pytest.mark.parametrize("architecture", ["gpt2", "gemma2", *RECURRENT])
def test_a_backward_pass_changes_and_marks_no_weight(architecture: str) -> None:
    model = build_model(architecture)
    before = {name: weight.clone() for name, weight in model.network.state_dict().items()}
    identity = model.identity()
    virtual = random_embeddings(model.network, 4, seed=2).requires_grad_()
    torch.autograd.backward(label_loss(model.logits(ROWS, model.prefix([InputPrompt(virtual)]), EVERYWHERE)))
    assert virtual.grad is not None
    assert virtual.grad.abs().max() > 0
    for name, weight in model.network.state_dict().items():
        assert torch.equal(weight, before[name]), name
    assert all(not weight.requires_grad and weight.grad is None for weight in model.network.parameters())
    assert model.identity(fresh=True) == identity


def test_a_changed_weight_shows_in_a_fresh_identity_only() -> None:
    model = build_model("llama")
    before = model.identity()
    with torch.no_grad():
        next(model.network.parameters()).mul_(2)
    assert model.identity() == before
    assert model.identity(fresh=True).differences(before) == ["weights"]


def test_dropout_is_off() -> None:
    network = build_network("gpt2", resid_pdrop=0.5, embd_pdrop=0.5, attn_pdrop=0.5)
    network.train()
    model = FrozenModel(network, build_tokenizer(), name="dropping")
    prefix = model.prefix([[BOS]])
    first = model.logits(ROWS, prefix, EVERYWHERE)
    assert torch.equal(first, model.logits(ROWS, prefix, EVERYWHERE))
    assert torch.equal(first, tiny_model("gpt2").logits(ROWS, prefix, EVERYWHERE))


@settings(max_examples=15)
@given(ragged_rows, ragged_choices, st.integers(1, 7))
def test_scores_do_not_depend_on_the_batch(
    rows: list[list[int]], choices: list[list[int]], batch_size: int
) -> None:
    model = tiny_model("llama")
    prefix = model.prefix([[BOS, 9, 8]])
    together = model.score(rows, prefix, choices, batch_size=batch_size)
    alone = [model.score([row], prefix, [choice]) for row in rows for choice in choices]
    assert torch.allclose(together, torch.cat(alone).view(len(rows), len(choices)), atol=1e-4)


@settings(max_examples=15)
@given(ragged_rows, st.integers(1, 7), st.sampled_from([0.0, 0.9]))
def test_answers_do_not_depend_on_the_batch(
    rows: list[list[int]], batch_size: int, temperature: float
) -> None:
    model = tiny_model("llama")
    prefix = model.prefix([[BOS, 9, 8]])

    def options(seed: int) -> SamplingOptions:
        ends = frozenset(range(20, 30))
        return SamplingOptions(max_new_tokens=4, temperature=temperature, seed=seed, end_ids=ends)

    together = model.generate(rows, prefix, options(3), batch_size=batch_size)
    alone = [model.generate([row], prefix, options(3 + index))[0] for index, row in enumerate(rows)]
    assert together == alone


def test_an_answer_stops_before_its_end_token(model: FrozenModel) -> None:
    prefix = model.prefix([[BOS]])
    free = model.generate(ROWS, prefix, SamplingOptions(max_new_tokens=6))
    end = free[0][3]
    found = model.generate(ROWS, prefix, SamplingOptions(max_new_tokens=6, end_ids=frozenset({end})))
    assert found[0] == free[0][: free[0].index(end)]
    assert found == [row[: row.index(end)] if end in row else row for row in free]


def test_no_rows_give_no_results(model: FrozenModel) -> None:
    prefix = model.prefix([[BOS]])
    assert model.score([], prefix, [[5], [6]]).shape == (0, 2)
    assert model.generate([], prefix, SamplingOptions()) == []


@pytest.mark.parametrize("architecture", ["llama", "jamba"])
def test_what_exceeds_the_maximum_length_is_refused_with_both_numbers(architecture: str) -> None:
    model = tiny_model(architecture)
    prefix = model.prefix([[BOS, *random_ids(9, seed=1)]])
    full = random_ids(MAXIMUM_LENGTH - 10, seed=2)
    message = r"prompt \+ input \+ answer = 129 tokens; the model's maximum is 128"
    assert model.logits([full], prefix, [[0]]).shape == (1, VOCABULARY_SIZE)
    with pytest.raises(ContextLengthError, match=message):
        model.logits([[*full, 5]], prefix, [[0]])
    # The last token of a choice or an answer is not read.
    assert model.score([full], prefix, [[5]]).shape == (1, 1)
    with pytest.raises(ContextLengthError, match=message):
        model.score([[7], full], prefix, [[5], [5, 6]])
    assert len(model.generate([full], prefix, SamplingOptions(max_new_tokens=1))[0]) == 1
    with pytest.raises(ContextLengthError, match=message):
        model.generate([full], prefix, SamplingOptions(max_new_tokens=2))


@pytest.mark.parametrize("architecture", ["llama", "mamba"])
def test_misuse_is_refused_on_both_paths(architecture: str) -> None:
    model = tiny_model(architecture)
    prefix: Any = model.prefix([[BOS]])
    with pytest.raises(ValueError, match=r"a row of 2 tokens has no position \[0, 2\]"):
        model.logits([[5, 6], [5, 6, 7]], prefix, [[0, 2], [1]])
    with pytest.raises(ValueError, match=r"a row of 2 tokens has no position \[-1\]"):
        model.logits([[5, 6]], prefix, [[-1]])
    with pytest.raises(ValueError, match="every row needs at least one token, found none in row 1"):
        model.score([[5], []], prefix, [[6]])
    with pytest.raises(ValueError, match="every row needs at least one token, found none in row 0"):
        model.generate([[]], prefix, SamplingOptions())
    with pytest.raises(ValueError, match=r"every choice needs at least one token, found \[\[6\], \[\]\]"):
        model.score([[5]], prefix, [[6], []])
    with pytest.raises(ValueError, match=r"every choice needs at least one token, found \[\]"):
        model.score([[5]], prefix, [])
    with pytest.raises(ValueError, match="batch_size must be at least 1, found -1"):
        model.score([[5]], prefix, [[6]], batch_size=-1)
