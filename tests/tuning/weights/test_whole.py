from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from tests.tiny_models import MASK, SEP, build_model, random_ids, tiny_encoder, tiny_model
from tests.training.toy_task import (
    ANSWERS,
    TEXT,
    TRAINSET,
    RecordingSink,
    toy_candidate,
    toy_rows,
    toy_validation,
)
from tuningfork.models.copies import float32_copy
from tuningfork.models.frozen import FrozenModel
from tuningfork.training.loop import Training, train
from tuningfork.training.objectives import ChoiceObjective, Objective, TokenObjective
from tuningfork.training.step import accumulate_gradients
from tuningfork.tuning.soft.method import begin
from tuningfork.tuning.soft.prompt_tuning import PromptTuning
from tuningfork.tuning.weights.whole import WholeNetwork
from tuningfork.types import TrainingRow

ROWS = toy_rows(4, seed=3)
CHOICES = ChoiceObjective(ANSWERS, normalizes_length=False)


def filled(count: int) -> list[TrainingRow]:
    """Rows of an encoder: the answer at a mask, closed as every text is."""
    rows = []
    for index in range(count):
        inputs = random_ids(3 + index, seed=index)
        choice = index % 2
        answer = ANSWERS[choice][:1]
        rows.append(TrainingRow((*inputs, MASK, SEP, *answer), (len(inputs) + 2,), choice))
    return rows


@torch.no_grad()
def mean_loss(model: FrozenModel, objective: Objective, rows: list[TrainingRow]) -> Tensor:
    return objective.losses(model, model.prefix([TEXT]), rows).double().mean()


@torch.no_grad()
def slope(parameter: Tensor, direction: Tensor, loss: Any, size: float) -> float:
    """How fast `loss` rises along `direction`, by a step of `size` to both sides."""
    parameter.add_(direction, alpha=size)
    above = loss()
    parameter.add_(direction, alpha=-2 * size)
    below = loss()
    parameter.add_(direction, alpha=size)
    return float((above - below) / (2 * size))


@pytest.mark.parametrize(
    ("architecture", "objective"),
    [
        ("llama", TokenObjective()),
        ("gpt2", CHOICES),
        ("gemma2", CHOICES),
        ("mamba", TokenObjective()),
        ("jamba", CHOICES),
        ("t5", TokenObjective()),
        ("bart", CHOICES),
        ("bert", ChoiceObjective([(10,), (20,)], normalizes_length=False)),
    ],
    ids=lambda given: given if isinstance(given, str) else type(given).__name__,
)
def test_the_gradient_of_every_weight_is_the_slope_of_the_loss(
    architecture: str, objective: Objective
) -> None:
    is_encoder = architecture == "bert"
    base = tiny_encoder("bert") if is_encoder else tiny_model(architecture)
    rows, model = filled(4) if is_encoder else ROWS, float32_copy(base)
    method = WholeNetwork(TEXT, base)
    module = begin(method, model, torch.zeros(0, model.hidden_size))
    loss = accumulate_gradients(
        model, method.materialize(module), rows, micro_batch_size=3, objective=objective
    )
    computed = partial(mean_loss, model, objective, rows)
    assert loss == pytest.approx(float(computed()), rel=1e-5)
    parameters = dict(cast(nn.Module, model.network).named_parameters())
    gradients = {name: parameter.grad for name, parameter in parameters.items()}
    largest = max(float(gradient.norm()) for gradient in gradients.values() if gradient is not None)
    generator = torch.Generator().manual_seed(0)
    learned = 0
    for name, parameter in parameters.items():
        gradient = gradients[name]
        drawn = torch.randn(parameter.shape, generator=generator)
        if gradient is not None:
            # Mostly along the gradient, where the slope is steepest and rounding counts least.
            drawn = drawn / drawn.norm() + 2 * gradient / gradient.norm().clamp(min=1e-12)
            learned += bool(gradient.any())
        direction = drawn / drawn.norm()
        expected = 0.0 if gradient is None else float((gradient * direction).sum())
        found = slope(parameter, direction, computed, 2e-3)
        assert found == pytest.approx(expected, rel=3e-2, abs=2e-3 * largest), name
    assert learned > 0.7 * len(parameters)


def test_every_training_begins_with_the_weights_of_the_base(tmp_path: Path) -> None:
    base = build_model("llama")
    before = base.identity(fresh=True)
    model = float32_copy(base)
    method, sink = WholeNetwork(TEXT, base), RecordingSink()
    plain = toy_candidate(base, PromptTuning(), patience=0, learning_rate=3e-3, weight_decay=0.0)
    finals = []
    for number in range(2):
        candidate = type(plain)(
            "full", method, torch.zeros(0, base.hidden_size), plain.arguments, plain.objective
        )
        training = Training(model, candidate, TRAINSET, higher_is_better=True)
        outcome = train(
            training,
            toy_validation(model),
            metric="probability",
            sink=sink,
            checkpoint_path=tmp_path / str(number),
        )
        finals.append({name: tensor.clone() for name, tensor in model.network.state_dict().items()})
        assert outcome.num_trained_parameters == base.num_parameters
    half = len(sink.events) // 2
    assert sink.events[:half] == sink.events[half:]
    assert all(torch.equal(finals[0][name], finals[1][name]) for name in finals[0])
    stored = base.network.state_dict()
    assert all(not torch.equal(tensor, stored[name]) for name, tensor in finals[0].items())
    assert base.identity(fresh=True) == before
    losses = [event.log_loss for event in sink.validations[: len(sink.validations) // 2]]
    assert min(losses) < losses[0] - 0.1
