import copy
from threading import Thread
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from tests.peft_reference import random_update, with_peft_layers
from tests.tiny_models import build_model, tiny_model
from tests.unpadded_reference import (
    CHOICES,
    EVERYWHERE,
    ROWS,
    expected_answer,
    expected_logits,
    expected_scores,
    make_prompt,
    random_embeddings,
)
from tuningfork.errors import PromptError
from tuningfork.models.artefacts import AdaptedPrompt, InputPrompt, PlacedPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.low_rank import LowRankUpdate, applied, merge
from tuningfork.models.path import SamplingOptions

TOLERANCE = 1e-4
SIZES = {"gpt2": 0.1, "jamba": 0.1, "gemma2": 0.1}


@pytest.fixture
def model() -> FrozenModel:
    return tiny_model("llama")


def adapted(model: FrozenModel, seed: int = 0) -> tuple[AdaptedPrompt, Tensor]:
    """A prompt with an update, and its virtual tokens."""
    virtual = random_embeddings(model.network, 5, seed=3)
    size = SIZES.get(model.network.config.model_type, 0.2)
    return AdaptedPrompt(InputPrompt(virtual), random_update(model.network, 3, seed=seed, size=size)), virtual


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2", "mistral", "jamba"])
@torch.no_grad()
def test_rows_run_as_through_the_layers_of_peft(architecture: str) -> None:
    model = tiny_model(architecture)
    prompt, virtual = adapted(model)
    network = with_peft_layers(model.network, prompt.update)
    prefix = model.prefix([prompt])
    found = model.logits(ROWS, prefix, EVERYWHERE)
    expected = expected_logits(network, virtual)
    assert float((expected - expected_logits(model.network, virtual)).abs().max()) > 0.1
    torch.testing.assert_close(found, expected, rtol=TOLERANCE, atol=TOLERANCE)
    torch.testing.assert_close(
        model.score(ROWS, prefix, CHOICES), expected_scores(network, virtual), rtol=TOLERANCE, atol=TOLERANCE
    )
    answers = model.generate(ROWS, prefix, SamplingOptions(max_new_tokens=5))
    assert answers == [expected_answer(network, virtual, row, 5) for row in ROWS]


@torch.no_grad()
def test_words_alone_may_have_an_update(model: FrozenModel) -> None:
    text = make_prompt(model, "tokens", 6)
    words = PlacedPrompt(torch.zeros(0, 32), tuple(cast(list[int], text.segments[0])))
    update = adapted(model)[0].update
    found = model.logits(ROWS, model.prefix([AdaptedPrompt(words, update)]), EVERYWHERE)
    network = with_peft_layers(model.network, update)
    torch.testing.assert_close(found, expected_logits(network, text.embedded), rtol=TOLERANCE, atol=TOLERANCE)


@torch.no_grad()
def test_prompts_in_turn_never_meet_the_updates_of_others() -> None:
    model = build_model("llama")
    before = model.identity(fresh=True)
    (first, virtual), (second, _) = adapted(model), adapted(model, seed=1)
    alone = expected_logits(model.network, virtual)
    prefixes = [model.prefix([prompt]) for prompt in (first, second, InputPrompt(virtual))]
    for _ in range(2):
        for prefix, update in zip(prefixes, (first.update, second.update, None), strict=True):
            network = model.network if update is None else with_peft_layers(model.network, update)
            expected = expected_logits(network, virtual)
            found = model.logits(ROWS, prefix, EVERYWHERE)
            torch.testing.assert_close(found, expected, rtol=TOLERANCE, atol=TOLERANCE)
    assert torch.equal(expected_logits(model.network, virtual), alone)
    assert model.identity(fresh=True) == before
    assert not any(module._forward_hooks for module in cast(nn.Module, model.network).modules())


@torch.no_grad()
def test_another_thread_runs_without_the_update(model: FrozenModel) -> None:
    prompt, virtual = adapted(model)
    expected, found = expected_logits(model.network, virtual), []
    with applied(model.network, prompt.update):

        def run() -> None:
            with torch.no_grad():
                found.append(expected_logits(model.network, virtual))

        thread = Thread(target=run)
        thread.start()
        thread.join()
        inside = expected_logits(model.network, virtual)
        with applied(model.network, None):
            found.append(expected_logits(model.network, virtual))
    assert all(torch.equal(logits, expected) for logits in found)
    assert float((inside - expected).abs().max()) > 0.1


@torch.no_grad()
def test_an_error_leaves_nothing_behind(model: FrozenModel) -> None:
    prompt, virtual = adapted(model)
    expected = expected_logits(model.network, virtual)
    with pytest.raises(RuntimeError, match="stop"), applied(model.network, prompt.update):
        raise RuntimeError("stop")
    assert torch.equal(expected_logits(model.network, virtual), expected)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@torch.no_grad()
def test_a_merged_copy_runs_alike_on_its_own(architecture: str) -> None:
    model = tiny_model(architecture)
    prompt, virtual = adapted(model)
    network = copy.deepcopy(model.network)
    merge(cast(nn.Module, network), prompt.update)
    torch.testing.assert_close(
        expected_logits(network, virtual),
        expected_logits(with_peft_layers(model.network, prompt.update), virtual),
        rtol=TOLERANCE,
        atol=TOLERANCE,
    )


def test_words_read_with_an_update_are_not_kept(model: FrozenModel) -> None:
    words = PlacedPrompt(random_embeddings(model.network, 2, seed=4), (1, 7, 8))
    rows = [[11, 12, -1, -2, 13], [14, -1, -2, 15]]
    update = adapted(model)[0].update
    with model.keeping_contexts(10**6) as contexts, torch.no_grad():
        model.logits(rows, model.prefix([AdaptedPrompt(words, update)]), [[4], [3]])
        assert len(contexts) == 0
        model.logits(rows, model.prefix([words]), [[4], [3]])
        assert len(contexts) == 2


def test_what_does_not_fit_is_refused(model: FrozenModel) -> None:
    prompt, virtual = adapted(model)
    other = LowRankUpdate({"model.layers.9.mlp.up_proj": (torch.zeros(1, 32), torch.zeros(48, 1))}, 1.0)
    with pytest.raises(
        PromptError, match=r"changes layer model\.layers\.9\.mlp\.up_proj, which the model does not"
    ):
        model.prefix([AdaptedPrompt(InputPrompt(virtual), other)])
    wrong = LowRankUpdate({"model.layers.0.mlp.up_proj": (torch.zeros(1, 31), torch.zeros(48, 1))}, 1.0)
    with pytest.raises(PromptError, match=r"is \(48, 31\), the layer of the model \(48, 32\)"):
        model.prefix([AdaptedPrompt(InputPrompt(virtual), wrong)])
    with pytest.raises(PromptError, match="must be the first segment"):
        model.prefix([[1], prompt])
    with pytest.raises(PromptError, match="must be the first segment"):
        model.prefix([prompt, prompt])
    prefixes = [model.prefix([prompt]), model.prefix([InputPrompt(virtual)])]
    with pytest.raises(PromptError, match="different adapters cannot be mixed in one batch"):
        model.logits([[5], [6]], prefixes, [[0], [0]])


def test_an_update_needs_layers_of_one_rank() -> None:
    with pytest.raises(ValueError, match="at least one layer"):
        LowRankUpdate({}, 1.0)
    with pytest.raises(ValueError, match=r"needs one rank, found \[1, 2\]"):
        LowRankUpdate({"layer": (torch.zeros(1, 3), torch.zeros(3, 2))}, 1.0)
