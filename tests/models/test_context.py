"""Words of rows that are read once."""

import pytest
import torch

from tests.models.test_instance import ARCHITECTURES, AT, instance_prompt
from tests.tiny_models import random_ids, tiny_model
from tests.unpadded_reference import ROWS
from tuningfork.models.artefacts import InputPrompt, PlacedPrompt
from tuningfork.models.context import ContextCache, ReadWords, join_rows, split_rows
from tuningfork.models.prefix import PrefixState

PLACED_ROWS = [[*random_ids(length, seed=length), -1] for length in (5, 2, 7)]
LAST = [[len(row) - 1] for row in PLACED_ROWS]


def read(num_words: int = 2) -> ReadWords:
    pair = (torch.ones(1, num_words, 4), torch.ones(1, num_words, 4))
    return ReadWords((pair, None), torch.ones(num_words, 8), torch.ones(8))


def test_what_does_not_fit_is_not_kept() -> None:
    size = read().num_bytes
    cache = ContextCache(2 * size)
    assert size == 4 * (2 * 2 * 4 + 2 * 8 + 8)
    for name in ("a", "b", "c", "a"):
        cache.put(name, read())
    assert (len(cache), cache.num_bytes) == (2, 2 * size)
    assert cache.get("a") is not None
    assert cache.get("c") is None


def test_rows_are_parted_and_joined_with_all_padding_in_front() -> None:
    torch.manual_seed(0)
    keys, values = torch.randn(2, 3, 6, 4), torch.randn(2, 3, 6, 4)
    reads = split_rows([(keys, values), None], torch.randn(2, 4, 8), torch.randn(2, 8), [4, 1], past=2)
    assert [len(row.states) for row in reads] == [4, 1]
    prefix = PrefixState(2, ((keys[:1, :, :2], values[:1, :, :2]), None))
    joined, nothing = join_rows(prefix, reads)
    assert nothing is None
    assert joined is not None
    assert torch.equal(joined[0][0], keys[0])
    assert torch.equal(joined[1][1, :, 3:], torch.cat([values[0, :, :2], values[1, :, 2:3]], dim=1))
    assert joined[1][1, :, :3].abs().max() == 0


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_rows_with_kept_words_are_scored_as_before(architecture: str) -> None:
    model = tiny_model(architecture)
    prompt = instance_prompt(model)
    with torch.no_grad():
        expected = model.logits(ROWS, model.prefix([prompt]), AT)
        with model.keeping_contexts(2**20) as contexts:
            for _ in range(2):
                found = model.logits(ROWS, model.prefix([prompt]), AT)
                assert (found - expected).abs().max() <= 1e-5
            other = instance_prompt(model).mapped(lambda tensor: tensor * 1.5)
            fresh = model.logits(ROWS, model.prefix([other]), AT)
    assert len(contexts) == 2 * len(ROWS)
    with torch.no_grad():
        assert (fresh - model.logits(ROWS, model.prefix([other]), AT)).abs().max() <= 1e-5


def test_words_are_run_once() -> None:
    model = tiny_model("llama")
    seen: list[int] = []

    def hook(module: object, arguments: object, named: dict[str, torch.Tensor]) -> None:
        seen.append(named["inputs_embeds"].shape[1])

    prompt = PlacedPrompt(torch.zeros(1, 32), (1, 5))
    handle = model.network.base_model.register_forward_pre_hook(hook, with_kwargs=True)
    with torch.no_grad(), model.keeping_contexts(2**20):
        prefix = model.prefix([prompt])
        for _ in range(2):
            model.logits(PLACED_ROWS, prefix, LAST)
    handle.remove()
    assert seen == [2, 5, 2, 7, 1, 1]


@pytest.mark.parametrize("prefix_ids", [(1, -1, 5), (1, 5)])
def test_nothing_is_kept_that_training_changes(prefix_ids: tuple[int, ...]) -> None:
    model = tiny_model("gpt2")
    trained = next(model.network.parameters())
    trained.requires_grad_(-1 not in prefix_ids)
    try:
        with torch.no_grad(), model.keeping_contexts(2**20) as contexts:
            model.logits(PLACED_ROWS, model.prefix([PlacedPrompt(torch.ones(1, 32), prefix_ids)]), LAST)
            model.logits([[4, 5]], model.prefix([InputPrompt(torch.ones(1, 32))]), [[1]])
    finally:
        trained.requires_grad_(False)
    assert len(contexts) == 0


def test_keeping_ends_with_its_block() -> None:
    model = tiny_model("llama")
    prefix = model.prefix([PlacedPrompt(torch.zeros(1, 32), (1, 5))])
    with model.keeping_contexts(2**20) as contexts, torch.no_grad():
        model.logits(PLACED_ROWS, prefix, LAST)
    with torch.no_grad():
        model.logits([[8, 9, -1]], prefix, [[2]])
    assert len(contexts) == len(PLACED_ROWS)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_is_kept_does_not_depend_on_the_rows_beside_it(architecture: str) -> None:
    model = tiny_model(architecture)
    prompt = PlacedPrompt(torch.ones(1, 32), (1, 5))
    with torch.no_grad():
        prefix = model.prefix([prompt])
        found = []
        for first in (PLACED_ROWS[:1], PLACED_ROWS):
            with model.keeping_contexts(2**20):
                model.logits(first, prefix, [[len(row) - 1] for row in first])
                found.append(model.logits(PLACED_ROWS[:1], prefix, LAST[:1]))
    assert torch.equal(*found)
