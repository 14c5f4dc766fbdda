"""Virtual tokens inside rows, against one unpadded row that was put together by hand."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from tests.tiny_models import ATTENDING, BOS, RECURRENT, VOCABULARY_SIZE, random_ids, tiny_model
from tests.unpadded_reference import (
    CHOICES,
    choice_scores,
    embed,
    greedy_answer,
    random_embeddings,
    relative_difference,
)
from tuningfork.errors import PromptError
from tuningfork.models.artefacts import InputPrompt, PlacedPrompt, SoftPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.opening import leading_words
from tuningfork.models.path import SamplingOptions
from tuningfork.models.prefix import backward_into
from tuningfork.types import TokenIds

WORDS = (BOS, *random_ids(3, seed=31))
PREFIXES = {"words in front": WORDS, "virtual tokens in front": (BOS, -4, -5, 40), "none": ()}
ROWS = [
    [*random_ids(length, seed=length), -1, -2, *random_ids(after, seed=after), -3, 7]
    for length, after in ((9, 1), (1, 4), (17, 2), (3, 6))
]
AT = [[0, 9, 12], [5], [3, len(ROWS[2]) - 1], [1, 2, 3, 4]]
NO_CONTEXTS, CONTEXTS = 0, 2**20


def placed(model: FrozenModel, prefix: str = "words in front") -> PlacedPrompt:
    return PlacedPrompt(random_embeddings(model.network, 5, seed=3), PREFIXES[prefix])


def by_hand(network: PreTrainedModel, prompt: PlacedPrompt, ids: TokenIds) -> Tensor:
    """Logits (T, V) of one row."""
    whole = [
        prompt.embeddings[-1 - token] if token < 0 else embed(network, [token])[0]
        for token in (*prompt.prefix_ids, *ids)
    ]
    logits: Tensor = network(inputs_embeds=torch.stack(whole)[None], use_cache=False).logits
    return logits[0, len(prompt.prefix_ids) :]


@pytest.mark.parametrize("budget", [NO_CONTEXTS, CONTEXTS])
@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("architecture", ATTENDING)
def test_logits_equal_one_unpadded_row(architecture: str, prefix: str, budget: int) -> None:
    model = tiny_model(architecture)
    prompt = placed(model, prefix)
    with torch.no_grad(), model.keeping_contexts(budget) as contexts:
        expected = [by_hand(model.network, prompt, row)[list(at)] for row, at in zip(ROWS, AT, strict=True)]
        for _ in range(2):
            found = model.logits(ROWS, model.prefix([prompt]), AT)
            assert (found - torch.cat(expected)).abs().max() <= 1e-4
    assert len(contexts) == (len(ROWS) if budget and prefix != "virtual tokens in front" else 0)


@pytest.mark.parametrize("budget", [NO_CONTEXTS, CONTEXTS])
@pytest.mark.parametrize("architecture", ["llama", "gpt2", "opt", "bloom", "gemma2"])
def test_scores_and_greedy_answers_equal_one_unpadded_row(architecture: str, budget: int) -> None:
    model = tiny_model(architecture)
    prompt = placed(model)
    with torch.no_grad(), model.keeping_contexts(budget):
        prefix = model.prefix([prompt])
        scores = model.score(ROWS, prefix, CHOICES)
        answers = model.generate(ROWS, prefix, SamplingOptions(max_new_tokens=4))

    def logits_of(ids: TokenIds, _: int) -> Tensor:
        return by_hand(model.network, prompt, ids)

    assert (scores - choice_scores(logits_of, ROWS)).abs().max() <= 1e-4
    assert answers == [greedy_answer(logits_of, row, 4) for row in ROWS]


@pytest.mark.parametrize("architecture", RECURRENT)
def test_the_plain_path_fills_places_too(architecture: str) -> None:
    model = tiny_model(architecture)
    prompt = placed(model, "virtual tokens in front")
    with torch.no_grad():
        found = model.logits(ROWS, model.prefix([prompt]), AT)
        expected = [by_hand(model.network, prompt, row)[list(at)] for row, at in zip(ROWS, AT, strict=True)]
    assert (found - torch.cat(expected)).abs().max() <= 1e-4


def gradient(model: FrozenModel, prefix: str, budget: int, steps: int = 2) -> Tensor:
    """Of a loss over all of `AT`, at the last of some steps."""
    virtual = placed(model).embeddings.requires_grad_(True)
    with model.keeping_contexts(budget):
        for _ in range(steps):
            virtual.grad = None
            state = model.prefix([PlacedPrompt(virtual, PREFIXES[prefix])])
            leaves = state.detached()
            torch.autograd.backward(weighted(model.logits(ROWS, leaves, AT)))
            backward_into(state, leaves)
    assert virtual.grad is not None
    return virtual.grad


def weighted(logits: Tensor) -> Tensor:
    return (logits * torch.linspace(-1, 1, logits.numel()).view_as(logits)).sum()


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2"])
def test_gradients_equal_those_of_unpadded_rows(architecture: str, prefix: str) -> None:
    model = tiny_model(architecture)
    virtual = placed(model).embeddings.requires_grad_(True)
    prompt = PlacedPrompt(virtual, PREFIXES[prefix])
    rows = [by_hand(model.network, prompt, row)[list(at)] for row, at in zip(ROWS, AT, strict=True)]
    torch.autograd.backward(weighted(torch.cat(rows)))
    assert virtual.grad is not None
    for budget in (NO_CONTEXTS, CONTEXTS):
        assert relative_difference([gradient(model, prefix, budget)], [virtual.grad]) <= 1e-4


def test_prompts_of_different_rows_share_a_batch() -> None:
    model = tiny_model("llama")
    prompts = [
        PlacedPrompt(random_embeddings(model.network, count, seed=count), WORDS) for count in (3, 5, 4)
    ]
    plain = InputPrompt(random_embeddings(model.network, len(WORDS), seed=9))
    last = random_ids(4, seed=5)
    with torch.no_grad():
        prefixes = [*(model.prefix([prompt]) for prompt in prompts), model.prefix([plain])]
        found = model.logits([*ROWS[:3], last], prefixes, [[len(row) - 1] for row in (*ROWS[:3], last)])
        expected = [
            by_hand(model.network, prompt, row)[-1] for prompt, row in zip(prompts, ROWS[:3], strict=True)
        ]
        expected.append(by_hand(model.network, PlacedPrompt(plain.embeddings, (-1, -2, -3, -4)), last)[-1])
    assert (found - torch.stack(expected)).abs().max() <= 1e-4


@pytest.mark.parametrize("architecture", ["llama", *RECURRENT])
def test_a_place_that_the_prompt_does_not_fill_is_refused(architecture: str) -> None:
    model = tiny_model(architecture)
    row: Sequence[int] = [4, -3, 5]
    prompts: list[tuple[SoftPrompt, int]] = [
        (PlacedPrompt(torch.zeros(2, 32), ()), 2),
        (InputPrompt(torch.zeros(2, 32)), 0),
    ]
    for prompt, fills in prompts:
        with pytest.raises(PromptError, match=f"a place for virtual token 3, the prompt fills {fills}"):
            model.logits([row], model.prefix([prompt]), [[2]])


@pytest.mark.parametrize("architecture", ["llama", *RECURRENT])
def test_virtual_tokens_of_another_width_are_refused(architecture: str) -> None:
    with pytest.raises(PromptError, match="the soft prompt is 16 wide, the model's embeddings are 32"):
        tiny_model(architecture).prefix([PlacedPrompt(torch.zeros(2, 16), (-1,))])


def test_leading_words_end_at_the_first_place() -> None:
    assert leading_words([4, 5, -1, 6, -2]) == [4, 5]
    assert leading_words([-1, 4]) == []
    assert leading_words([4, 5]) == [4, 5]


@pytest.mark.parametrize("architecture", ["llama", *RECURRENT])
def test_words_that_the_model_does_not_have_are_refused(architecture: str) -> None:
    prompt = PlacedPrompt(torch.zeros(1, 32), (4, VOCABULARY_SIZE))
    with pytest.raises(PromptError, match="the prompt holds token 97, the model's vocabulary has 97"):
        tiny_model(architecture).prefix([prompt])


def test_words_in_front_do_not_depend_on_what_is_learned() -> None:
    model = tiny_model("llama")
    prompt = PlacedPrompt(torch.zeros(1, 32, requires_grad=True), WORDS)
    assert not any(tensor.requires_grad for tensor in model.prefix([prompt]).tensors()[:-1])


def test_a_place_where_nothing_fills_it_is_an_error() -> None:
    with pytest.raises(IndexError):
        tiny_model("llama").embed([4, -1])
