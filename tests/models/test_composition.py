from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.tiny_models import random_ids, tiny_model
from tests.unpadded_reference import (
    ROWS,
    embed,
    random_embeddings,
    row_logits,
    row_logits_after,
    text_key_values,
)
from tuningfork.errors import PromptError
from tuningfork.models import composition
from tuningfork.models.artefacts import (
    DecomposedPrompt,
    HeadedPrefix,
    InputPrompt,
    InstancePrompt,
    KeyValuePrefix,
    PlacedPrompt,
    SoftPrompt,
)
from tuningfork.models.classification_head import ClassificationHead
from tuningfork.models.composition import average, concatenate
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.prefix import new_cache

HEAD = ClassificationHead(torch.ones(2, 32), torch.zeros(2))
FIRST, SECOND = random_ids(5, seed=41), random_ids(4, seed=42)


def virtual(count: int, seed: int, model: FrozenModel | None = None) -> InputPrompt:
    return InputPrompt(random_embeddings((model or tiny_model("llama")).network, count, seed))


def offsets(seed: int) -> DecomposedPrompt:
    generator = torch.Generator().manual_seed(seed)
    down, up = torch.randn(4, 2, generator=generator), torch.randn(2, 32, generator=generator)
    return DecomposedPrompt(virtual(3, seed).embeddings, down, up)


@torch.no_grad()
def logits_behind(model: FrozenModel, prompt: SoftPrompt) -> list[torch.Tensor]:
    state = model.prefix([prompt])
    return [model.logits([row], state, [range(len(row))]) for row in ROWS]


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2", "mamba"])
def test_virtual_tokens_are_joined_in_order(architecture: str) -> None:
    model = tiny_model(architecture)
    parts = [virtual(3, 1, model), virtual(5, 2, model), virtual(2, 3, model)]
    joined = concatenate(model, parts)
    assert isinstance(joined, InputPrompt)
    embedded = torch.cat([part.embeddings for part in parts])
    with torch.no_grad():
        expected = [row_logits(model.network, embedded, row) for row in ROWS]
    for ours, theirs in zip(logits_behind(model, joined), expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4)
    swapped = concatenate(model, parts[::-1])
    assert not torch.allclose(logits_behind(model, swapped)[0], expected[0], atol=1e-2)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2", "bloom"])
def test_virtual_tokens_behind_keys_and_values_become_such(architecture: str) -> None:
    model = tiny_model(architecture)
    joined = concatenate(model, [text_key_values(model, FIRST), virtual(3, 1, model)])
    assert isinstance(joined, KeyValuePrefix)
    assert joined.num_virtual_tokens == 8
    embedded = torch.cat([embed(model.network, FIRST), virtual(3, 1, model).embeddings])
    for ours, row in zip(logits_behind(model, joined), ROWS, strict=True):
        with torch.no_grad():
            assert torch.allclose(ours, row_logits(model.network, embedded, row), atol=1e-4)


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gemma2", "gemma3", "cohere"])
def test_keys_and_values_are_moved_behind_other_prompts(architecture: str) -> None:
    model = tiny_model(architecture)
    front = virtual(3, 1, model)
    one, two = text_key_values(model, FIRST), text_key_values(model, SECOND)
    joined = concatenate(model, [front, one, two])
    assert isinstance(joined, KeyValuePrefix)
    with torch.no_grad():
        read = model.prefix([front]).layers
        moved = [
            model.network(
                input_ids=torch.tensor([ids]),
                position_ids=torch.arange(start, start + len(ids))[None],
                past_key_values=new_cache(),
                use_cache=True,
            ).past_key_values
            for ids, start in ((FIRST, 3), (SECOND, 8))
        ]
        expected = [
            tuple(
                torch.cat([pair[side][0], *(getattr(cache.layers[index], name)[0] for cache in moved)], dim=1)
                for side, name in ((0, "keys"), (1, "values"))
            )
            for index, pair in enumerate(read)
            if pair is not None
        ]
        for ours, row in zip(logits_behind(model, joined), ROWS, strict=True):
            theirs = row_logits_after(model.network, expected, row)  # type: ignore[arg-type]
            assert torch.allclose(ours, theirs, atol=1e-4)
        unmoved = KeyValuePrefix(
            tuple(
                (torch.cat([p[0][0], a[0], b[0]], dim=1), torch.cat([p[1][0], a[1], b[1]], dim=1))
                for p, a, b in zip(read, one.layers, two.layers, strict=True)
                if p is not None and a is not None and b is not None
            )
        )
    assert not torch.allclose(logits_behind(model, unmoved)[0], logits_behind(model, joined)[0], atol=1e-2)


def test_offsets_of_the_row_stay_whatever_stands_in_front() -> None:
    model, front, last = tiny_model("llama"), virtual(2, 8), offsets(5)
    joined = concatenate(model, [front, last])
    assert isinstance(joined, DecomposedPrompt)
    assert torch.equal(joined.embeddings, torch.cat([front.embeddings, last.embeddings]))
    assert torch.equal(joined.offsets, last.offsets)
    with torch.no_grad():
        behind = model.prefix([concatenate(model, [last, front])])
        reference = model.prefix([last, front])
        at = [range(len(row)) for row in ROWS]
        assert torch.allclose(model.logits(ROWS, behind, at), model.logits(ROWS, reference, at), atol=1e-5)
    with pytest.raises(PromptError, match="2 of the prompts have offsets of the row"):
        concatenate(model, [last, offsets(6)])


def test_keys_that_do_not_turn_cannot_stand_behind_another_prompt() -> None:
    model = tiny_model("gpt2")
    with pytest.raises(PromptError, match="do not just turn with their position"):
        concatenate(model, [virtual(3, 1, model), text_key_values(model, FIRST)])


def instance() -> InstancePrompt:
    return InstancePrompt(
        torch.zeros(2, 32), torch.zeros(1, 32), torch.zeros(32, 1), torch.zeros(1, 32), torch.zeros(32),
        torch.ones(32), (0,),
    )  # fmt: skip


def late() -> KeyValuePrefix:
    pairs = text_key_values(tiny_model("llama"), FIRST).layers
    return KeyValuePrefix((None, *pairs[1:]))


def keys() -> KeyValuePrefix:
    return text_key_values(tiny_model("llama"), FIRST)


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ([], "at least two prompts are concatenated, found 1"),
        ([InputPrompt(torch.zeros(3, 16))], "equal widths, found 32, 16"),
        ([HeadedPrefix(keys(), HEAD)], "with a head cannot be concatenated: its head was learned"),
        ([instance()], "depends on the row cannot be concatenated"),
        ([PlacedPrompt(torch.zeros(2, 32), (-1,))], "among the words cannot be concatenated: its places"),
        ([keys(), offsets(1)], "offsets of the row cannot be concatenated with a key-value prefix"),
        ([late()], "of the upper layers only cannot be concatenated"),
    ],
)
def test_what_cannot_be_concatenated_is_refused(others: list[SoftPrompt], message: str) -> None:
    with pytest.raises(PromptError, match=message):
        concatenate(tiny_model("llama"), [virtual(3, 1), *others])


def test_a_prefix_of_another_model_is_refused() -> None:
    other = text_key_values(tiny_model("qwen3"), FIRST)
    with pytest.raises(PromptError, match="the prefix has 3 layers, the model has 2"):
        concatenate(tiny_model("llama"), [KeyValuePrefix(other.layers[:1] * 3), virtual(2, 1)])


@given(st.lists(st.floats(0.0, 5.0), min_size=2, max_size=5).filter(lambda w: sum(w) > 0.1), st.randoms())
def test_an_average_is_the_weighted_mean_in_any_order(weights: list[float], random: object) -> None:
    parts = [virtual(3, seed) for seed in range(len(weights))]
    found = average(parts, weights)
    assert isinstance(found, InputPrompt)
    expected = sum(w * part.embeddings for w, part in zip(weights, parts, strict=True)) / sum(weights)
    assert torch.allclose(found.embeddings, torch.as_tensor(expected), atol=1e-5)
    order = list(range(len(parts)))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = average([parts[i] for i in order], [weights[i] for i in order])
    assert torch.allclose(shuffled.tensors()[0], found.embeddings, atol=1e-6)


def test_equal_weights_are_the_default_and_one_weight_is_its_prompt() -> None:
    one, two = virtual(3, 1), virtual(3, 2)
    assert torch.allclose(average([one, two]).tensors()[0], (one.embeddings + two.embeddings) / 2)
    assert torch.equal(average([one, two], [0.0, 2.0]).tensors()[0], two.embeddings)
    assert torch.allclose(average([one, one], [0.3, 0.7]).tensors()[0], one.embeddings)


def test_keys_and_values_are_averaged_layer_by_layer() -> None:
    model = tiny_model("llama")
    one, two = text_key_values(model, FIRST), text_key_values(model, random_ids(5, seed=43))
    found = average([one, two], [0.25, 0.75])
    assert isinstance(found, KeyValuePrefix)
    for ours, a, b in zip(found.tensors(), one.tensors(), two.tensors(), strict=True):
        assert torch.allclose(ours, 0.25 * a + 0.75 * b, atol=1e-6)
    upper = average([late(), late()])
    assert isinstance(upper, KeyValuePrefix)
    assert upper.layers[0] is None
    assert torch.allclose(upper.tensors()[0], late().tensors()[0])


def test_placed_tokens_are_averaged_where_their_places_are_equal() -> None:
    one, two = (PlacedPrompt(virtual(3, seed).embeddings, (5, -1, -2, 6)) for seed in (1, 2))
    found = average([one, two])
    assert isinstance(found, PlacedPrompt)
    assert found.prefix_ids == (5, -1, -2, 6)
    assert torch.allclose(found.embeddings, (one.embeddings + two.embeddings) / 2)
    with pytest.raises(PromptError, match=r"equal places in front, found \(5, -1, -2, 6\), \(7, -1\)"):
        average([one, PlacedPrompt(two.embeddings, (7, -1))])


@pytest.mark.parametrize(
    ("parts", "weights", "message"),
    [
        ([virtual(3, 1)], None, "at least two prompts are averaged, found 1"),
        ([virtual(3, 1), virtual(4, 1)], None, r"equal shapes, found \(\(3, 32\),\), \(\(4, 32\),\)"),
        ([virtual(3, 1), InputPrompt(torch.zeros(3, 16))], None, "equal shapes"),
        ([virtual(3, 1), keys()], None, "one kind can be averaged; found a key-value prefix and virtual"),
        ([HeadedPrefix(keys(), HEAD)] * 2, None, "with a head cannot be averaged"),
        ([instance()] * 2, None, "depends on the row cannot be averaged"),
        ([offsets(1)] * 2, None, "with offsets of the row cannot be averaged"),
        ([keys(), text_key_values(tiny_model("llama"), SECOND)], None, "equal shapes, found 4 of"),
        ([keys(), late()], None, "equal shapes"),
        ([virtual(3, 1)] * 2, [1.0], "2 prompts need a weight each, found 1"),
        ([virtual(3, 1)] * 2, [1.0, -0.5], r"at least 0 and not all 0, found \[1.0, -0.5\]"),
        ([virtual(3, 1)] * 2, [0.0, 0.0], "not all 0"),
        ([virtual(3, 1)] * 2, [1.0, float("nan")], "at least 0"),
        ([virtual(3, 1)] * 2, [1.0, float("inf")], "at least 0"),
    ],
)
def test_what_cannot_be_averaged_is_refused(
    parts: list[SoftPrompt], weights: list[float] | None, message: str
) -> None:
    with pytest.raises(PromptError, match=message):
        average(parts, weights)


@pytest.mark.parametrize("kind", get_args(SoftPrompt), ids=lambda kind: kind.__name__)
def test_every_kind_of_prompt_is_composed_or_refused_with_its_reason(kind: type) -> None:
    assert kind in composition._KINDS
    refused = set(composition._NOT_JOINED) & set(composition._NOT_AVERAGED)
    assert kind in refused | {InputPrompt, KeyValuePrefix, PlacedPrompt, DecomposedPrompt}


def test_a_model_that_makes_no_keys_and_values_apart_joins_none() -> None:
    model = tiny_model("t5")
    prompt = InputPrompt(torch.zeros(2, model.hidden_size))
    prefix = KeyValuePrefix(tuple(model.key_values(prompt.embeddings)))
    with pytest.raises(PromptError, match="a key-value prefix cannot be concatenated"):
        concatenate(model, [prompt, prefix])
