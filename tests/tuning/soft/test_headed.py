"""A head on the prompts of any method; on encoders, see test_encoder_methods.py."""

from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from tests.models.test_classification_head import random_head
from tests.tiny_models import tiny_model
from tests.training.toy_task import ANSWERS, TEXT, TRAINSET, toy_candidate, train_toy
from tests.unpadded_reference import embed, random_embeddings, relative_difference
from tuningfork.errors import PromptError
from tuningfork.models.artefacts import HeadedPrefix, HeadedPrompt, InputPrompt, PlacedPrompt
from tuningfork.models.prefix import backward_into
from tuningfork.training.objectives import ChoiceObjective
from tuningfork.tuning.soft.headed import Headed
from tuningfork.tuning.soft.method import HasRateFactors, begin
from tuningfork.tuning.soft.placement import Placed
from tuningfork.tuning.soft.registry import SOFT_METHODS

ROWS = [[9, 12, 40, 7], [8], [30, 31]]
CHOICES = [[11], [11, 23, 40], [60, 61]]
PROMPT_TUNING = SOFT_METHODS["prompt_tuning"]


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2"])
@pytest.mark.parametrize("is_placed", [False, True])
def test_on_a_decoder_the_head_reads_the_last_token_behind_the_prompt(
    architecture: str, is_placed: bool
) -> None:
    model = tiny_model(architecture)
    head = random_head(width=model.hidden_size)
    ours, theirs = (random_embeddings(model.network, 3, seed=3).requires_grad_(True) for _ in range(2))
    prompt = PlacedPrompt(ours, (-1, -2, -3)) if is_placed else InputPrompt(ours)
    prefix = model.prefix([HeadedPrompt(prompt, head)])
    leaves = prefix.detached()
    found = model.choice_log_probabilities(ROWS, leaves, CHOICES)
    states = torch.stack(
        [
            model.network.base_model(inputs_embeds=torch.cat([theirs, embed(model.network, row)])[None])[0][
                0, -1
            ]
            for row in ROWS
        ]
    )
    expected = (states @ head.weight.T + head.bias).log_softmax(dim=-1)
    assert (found - expected).abs().max() <= 1e-4
    right = torch.tensor([0, 2, 1])
    torch.autograd.backward(cross_entropy(found, right))
    backward_into(prefix, leaves)
    torch.autograd.backward(cross_entropy(expected, right))
    assert ours.grad is not None
    assert theirs.grad is not None
    assert relative_difference([ours.grad], [theirs.grad]) <= 1e-4


def test_a_headed_prompt_starts_as_the_method_and_says_the_same_of_every_label() -> None:
    model = tiny_model("llama")
    embeddings = model.embed(TEXT).float()
    for name, kind in (("prompt_tuning", HeadedPrompt), ("prefix_tuning", HeadedPrefix)):
        method = Headed(SOFT_METHODS[name])
        made = method.materialize(begin(method, model, embeddings, num_labels=3))
        assert isinstance(made, kind)
        assert made.num_virtual_tokens == len(TEXT)
        scores = model.score(ROWS, model.prefix([made]), CHOICES)
        assert torch.allclose(scores.exp(), torch.full((3, 3), 1 / 3))
        assert made.head.weight.shape == (3, model.state_size)
    placed = Headed(Placed(PROMPT_TUNING, (-1, 5)))
    made = placed.materialize(begin(placed, model, embeddings, num_labels=3))
    assert isinstance(made, HeadedPrompt)
    assert isinstance(made.prompt, PlacedPrompt)
    copied = made.detached()
    assert all(map(torch.equal, copied.tensors(), made.tensors()))
    assert not any(tensor.requires_grad for tensor in copied.tensors())


def test_prompt_and_head_learn_together(tmp_path: Path) -> None:
    model, method = tiny_model("llama"), Headed(PROMPT_TUNING)
    objective = ChoiceObjective(ANSWERS, normalizes_length=False)
    candidate = toy_candidate(model, method, objective=objective, max_steps=50, validate_every=25)
    outcome = train_toy(model, candidate, tmp_path / "toy", valset=TRAINSET)
    assert outcome.progress.best is not None
    assert outcome.progress.best.log_loss < 0.35
    assert isinstance(outcome.prompt, HeadedPrompt)
    assert not torch.equal(outcome.prompt.prompt.embeddings, model.embed(TEXT).float())


def test_rates_of_the_method_are_kept() -> None:
    method = Headed(SOFT_METHODS["multitask_prompt_tuning"])
    inner = SOFT_METHODS["multitask_prompt_tuning"]
    model = tiny_model("llama")
    factors = inner.rate_factors if isinstance(inner, HasRateFactors) else {}
    module = begin(method, model, model.embed(TEXT).float(), num_labels=2)
    names = {name for name, _ in module.named_parameters()}
    assert method.rate_factors == {f"prompt.{name}": factor for name, factor in factors.items()}
    assert set(method.rate_factors) <= names
    assert {"weight", "bias"} <= names


@pytest.mark.parametrize("name", ["idpg", "dept", "late_prompt_tuning", "context_aware_prompt_tuning"])
def test_prompts_of_other_kinds_take_no_head(name: str) -> None:
    with pytest.raises(PromptError, match=f"{name} takes no head: .* leave out --head"):
        Headed(SOFT_METHODS[name])


def test_a_head_needs_labels_and_states_that_can_be_read() -> None:
    llama, method = tiny_model("llama"), Headed(PROMPT_TUNING)
    with pytest.raises(PromptError, match="a head tells labels apart and says no words"):
        begin(method, llama, llama.embed(TEXT).float())
    mamba = tiny_model("mamba")
    with pytest.raises(PromptError, match="a head is not possible with tiny-mamba: mamba keeps a recurrent"):
        begin(method, mamba, mamba.embed(TEXT).float(), num_labels=2)
    made = HeadedPrompt(InputPrompt(torch.zeros(2, 32)), random_head())
    with pytest.raises(PromptError, match="takes the plain path, where a prompt with a head cannot be used"):
        mamba.prefix([made])
    with pytest.raises(PromptError, match="a prompt with a head must be the first segment"):
        llama.prefix([[5], made])
