"""The contract of soft-prompt methods on encoders: those that work there, and those that cannot."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tests.models.encoder_reference import expected_scores, row_outputs
from tests.tiny_models import ENCODERS, MASK, build_encoder, build_encoder_tokenizer, tiny_encoder
from tests.training.toy_task import RecordingSink, assert_checkpoints_equal
from tests.tuning.soft.encoder_task import LABELS, OBJECTIVE, TEXT, TRAINSET, encoder_candidate
from tests.unpadded_reference import embed, relative_difference
from tuningfork.errors import PromptError
from tuningfork.models.artefacts import (
    HeadedPrefix,
    HeadedPrompt,
    InputPrompt,
    KeyValuePrefix,
    SoftPrompt,
)
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.prefix import PrefixState
from tuningfork.training.checkpoint import Checkpoint, Validation
from tuningfork.training.loop import Training, TrainingOutcome, train
from tuningfork.training.step import accumulate_gradients
from tuningfork.tuning.soft.headed import Headed
from tuningfork.tuning.soft.method import SoftMethod, begin
from tuningfork.tuning.soft.registry import SOFT_METHODS

# Contracts over many models; `make test-slow` runs them.
pytestmark = pytest.mark.slow

IMPOSSIBLE = ("context_aware_prompt_tuning", "idpg", "late_prompt_tuning")
POSSIBLE: dict[str, SoftMethod] = {
    **{name: method for name, method in SOFT_METHODS.items() if name not in IMPOSSIBLE},
    "prompt_tuning-headed": Headed(SOFT_METHODS["prompt_tuning"]),
    "prefix_tuning-headed": Headed(SOFT_METHODS["prefix_tuning"]),
}
INPUTS = [row.ids[: -len(LABELS[row.choice or 0])] for row in TRAINSET]
RIGHT = torch.tensor([row.choice or 0 for row in TRAINSET])

every_method = pytest.mark.parametrize("method", POSSIBLE.values(), ids=list(POSSIBLE))


def start(model: FrozenModel, method: SoftMethod) -> nn.Module:
    return begin(method, model, model.embed(TEXT).float(), rows=TRAINSET, num_labels=len(LABELS))


@torch.no_grad()
def move(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return module


def validate_with(model: FrozenModel, prefix: PrefixState) -> Validation:
    with torch.no_grad():
        losses = OBJECTIVE.losses(model, prefix, TRAINSET)
    return Validation(losses.neg().exp().mean().item(), losses.mean().item(), len(TRAINSET))


def trained(
    model: FrozenModel, method: SoftMethod, path: Path, *, until_step: int | None = None, steps: int = 14
) -> TrainingOutcome:
    return train(
        Training(model, encoder_candidate(model, method, max_steps=steps), TRAINSET, higher_is_better=True),
        lambda prefix: validate_with(model, prefix),
        metric="probability",
        sink=RecordingSink(),
        checkpoint_path=path,
        until_step=until_step,
    )


def scores_by_hand(model: FrozenModel, prompt: SoftPrompt) -> Tensor:
    """Log-probabilities (B, C) of the labels of `INPUTS`, one unpadded row at a time."""
    head = prompt.head if isinstance(prompt, HeadedPrefix | HeadedPrompt) else None
    body = getattr(prompt, "prefix", None) or getattr(prompt, "prompt", None) or prompt
    pairs = [pair for pair in body.layers if pair] if isinstance(body, KeyValuePrefix) else []
    front = body.embeddings if isinstance(body, InputPrompt) else embed(model.network, [])
    if head is None:
        return expected_scores(model.network, front, INPUTS, choices=LABELS, pairs=pairs)
    states = []
    for row in INPUTS:
        kept = embed(model.network, [token for token in row if token != MASK])
        states.append(row_outputs(model.network, torch.cat([front, kept]), pairs)[1][len(front)])
    return (torch.stack(states) @ head.weight.T + head.bias).log_softmax(dim=-1)


@every_method
def test_gradients_equal_those_of_one_unpadded_row_at_a_time(method: SoftMethod) -> None:
    model = tiny_encoder("bert")
    ours, theirs = (move(start(model, method)) for _ in range(2))
    if method.kind == "offset":
        pytest.skip("proven in tests/models/test_encoder.py")
    loss = accumulate_gradients(
        model, method.materialize(ours), TRAINSET, micro_batch_size=5, objective=OBJECTIVE
    )
    expected = cross_entropy(scores_by_hand(model, method.materialize(theirs)), RIGHT)
    torch.autograd.backward(expected)
    assert abs(loss - expected.item()) <= 1e-4
    found = [parameter.grad for parameter in ours.parameters() if parameter.grad is not None]
    wanted = [parameter.grad for parameter in theirs.parameters() if parameter.grad is not None]
    assert len(found) == len(wanted) == len(list(ours.parameters()))
    assert relative_difference(found, wanted) <= 1e-4
    assert all(weight.grad is None and not weight.requires_grad for weight in model.network.parameters())


@every_method
def test_training_lowers_the_loss_and_leaves_every_weight_bit_equal(
    method: SoftMethod, tmp_path: Path
) -> None:
    model = FrozenModel(build_encoder("bert"), build_encoder_tokenizer(), name="own")
    identity = model.identity()
    outcome = trained(model, method, tmp_path / "toy", steps=40)
    begun = validate_with(model, model.prefix([method.materialize(start(model, method))]))
    assert outcome.progress.best is not None
    assert outcome.progress.best.log_loss < begun.log_loss - 0.3
    assert model.identity(fresh=True) == identity


@every_method
def test_a_resumed_training_equals_one_that_was_not_cut_off(method: SoftMethod, tmp_path: Path) -> None:
    model = tiny_encoder("bert")
    whole = trained(model, method, tmp_path / "whole")
    trained(model, method, tmp_path / "cut", until_step=5)
    resumed = trained(model, method, tmp_path / "cut")
    found, expected = (Checkpoint.load(tmp_path / name) for name in ("cut", "whole"))
    assert_checkpoints_equal(found, expected)
    assert all(map(torch.equal, resumed.prompt.tensors(), whole.prompt.tensors()))


@pytest.mark.parametrize("architecture", ENCODERS)
@every_method
def test_what_an_encoder_cannot_take_is_refused_at_the_start(method: SoftMethod, architecture: str) -> None:
    model = tiny_encoder(architecture)
    is_input = method.kind in ("input", "offset") or method is POSSIBLE["prompt_tuning-headed"]
    if is_input or model.support.takes_key_values:
        prompt = method.materialize(start(model, method))
        assert model.score(INPUTS, model.prefix([prompt]), LABELS).isfinite().all()
        return
    with pytest.raises(
        PromptError, match=f"prefix tuning is not possible with tiny-{architecture}: .* use prompt"
    ):
        start(model, method)


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_needs_reading_from_left_to_right_is_refused(name: str) -> None:
    reason = (
        f"{name} is not possible with tiny-bert: it needs a model that reads from left to right, and bert"
    )
    with pytest.raises(PromptError, match=reason):
        start(tiny_encoder("bert"), SOFT_METHODS[name])


def test_an_encoder_that_says_no_words_needs_a_head() -> None:
    network: Any = build_encoder("bert").base_model
    model = FrozenModel(network, build_encoder_tokenizer(), name="bare")
    with pytest.raises(PromptError, match=r"bare says no words .*: tune a prompt with a head \(--head\)"):
        start(model, SOFT_METHODS["prompt_tuning"])
    assert start(model, POSSIBLE["prompt_tuning-headed"]) is not None
    assert start(model, SOFT_METHODS["p_tuning_v2"]) is not None
