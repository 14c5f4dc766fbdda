from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from tests.training.toy_task import (
    TRAINSET,
    RecordingSink,
    assert_checkpoints_equal,
    toy_candidate,
    train_toy,
)
from tuningfork.models.frozen import FrozenModel
from tuningfork.training.arguments import TrainingArguments
from tuningfork.training.checkpoint import Checkpoint
from tuningfork.training.loop import Training
from tuningfork.training.optimizer import build_optimizer, set_learning_rate
from tuningfork.training.schedules import learning_rate_at
from tuningfork.tuning.soft.method import HasRateFactors, SoftMethod
from tuningfork.tuning.soft.prompt_tuning import PromptTuning
from tuningfork.tuning.soft.registry import SOFT_METHODS

WITH_FACTORS = [method for method in SOFT_METHODS.values() if isinstance(method, HasRateFactors)]
ARGUMENTS = TrainingArguments(learning_rate=0.5, weight_decay=0.25)


class TwoRates(PromptTuning):
    """Learns `slow` at half the rate of `first` and `last`."""

    rate_factors: ClassVar[Mapping[str, float]] = MappingProxyType({"slow": 0.5})


def three_parameters() -> nn.Module:
    module = nn.Module()
    for name in ("first", "slow", "last"):
        setattr(module, name, nn.Parameter(torch.ones(2)))
    return module


def rates(optimizer: torch.optim.Optimizer, module: nn.Module) -> dict[str, float]:
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    return {names[id(p)]: group["lr"] for group in optimizer.param_groups for p in group["params"]}


def test_every_parameter_learns_at_its_factor_whatever_the_schedule_says() -> None:
    module = three_parameters()
    optimizer = build_optimizer(TwoRates(), module, ARGUMENTS)
    assert rates(optimizer, module) == {"first": 0.5, "slow": 0.25, "last": 0.5}
    for rate in (1.0, 0.0, 0.125):
        set_learning_rate(optimizer, rate)
        assert rates(optimizer, module) == {"first": rate, "slow": rate / 2, "last": rate}


def test_without_factors_there_is_one_group_in_the_order_of_the_module() -> None:
    module = three_parameters()
    optimizer = build_optimizer(PromptTuning(), module, ARGUMENTS)
    (group,) = optimizer.param_groups
    assert [id(p) for p in group["params"]] == [id(p) for p in module.parameters()]
    assert (group["lr"], group["weight_decay"]) == (0.5, 0.25)


def test_a_step_moves_every_parameter_at_its_rate_and_decays_it_so() -> None:
    module = three_parameters()
    optimizer = build_optimizer(TwoRates(), module, ARGUMENTS)
    for parameter in module.parameters():
        parameter.grad = torch.full((2,), 3.0)
    optimizer.step()
    # The first step of AdamW is the rate times the sign of the gradient, after decay by rate and weight.
    for name, rate in (("first", 0.5), ("slow", 0.25), ("last", 0.5)):
        expected = torch.full((2,), 1 - 0.25 * rate - rate)
        torch.testing.assert_close(module.get_parameter(name).detach(), expected)


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ({"slwo": 0.5}, r"has a rate factor for 'slwo', expected one of \['first', 'last', 'slow'\]"),
        ({"slow": 0.0, "last": 2.0}, r"must be above 0, found \{'slow': 0\.0\}"),
        ({"slow": float("nan")}, r"must be above 0, found \{'slow': nan\}"),
    ],
)
def test_factors_that_do_not_fit_are_refused(factors: dict[str, float], message: str) -> None:
    method = TwoRates()
    method.rate_factors = factors  # type: ignore[misc]
    with pytest.raises(ValueError, match=message):
        build_optimizer(method, three_parameters(), ARGUMENTS)


def moved(before: Mapping[str, Tensor], after: Mapping[str, Tensor], name: str) -> float:
    return float((after[name] - before[name]).abs().max())


@pytest.mark.parametrize("method", WITH_FACTORS, ids=lambda method: method.name)
def test_in_a_training_parameters_move_at_the_ratio_that_the_method_says(
    model: FrozenModel, method: SoftMethod
) -> None:
    assert isinstance(method, HasRateFactors)
    candidate = toy_candidate(model, method, weight_decay=0.0, max_gradient_norm=0.0)
    training = Training(model, candidate, TRAINSET, higher_is_better=True)
    before = training.checkpoint().module
    training.step()
    after = training.checkpoint().module
    rate = learning_rate_at(0, candidate.arguments)
    moves = {name: moved(before, after, name) / rate for name in before if moved(before, after, name)}
    # Where a factor of a product starts at zero, the other does not move at once.
    assert len(moves) >= 2
    for name, found in moves.items():
        assert found == pytest.approx(method.rate_factors.get(name, 1.0), rel=1e-3), name
    assert len(set(method.rate_factors.values()) | {1.0}) > 1


@pytest.mark.parametrize("method", WITH_FACTORS, ids=lambda method: method.name)
def test_a_resumed_training_with_several_rates_is_bit_equal_to_an_unbroken_one(
    model: FrozenModel, method: SoftMethod, tmp_path: Path
) -> None:
    candidate = toy_candidate(model, method, patience=0)
    unbroken, resumed = RecordingSink(), RecordingSink()
    train_toy(model, candidate, tmp_path / "unbroken", sink=unbroken)
    for stop in (1, 4, 9, None):
        train_toy(model, candidate, tmp_path / "resumed", sink=resumed, until_step=stop)
        torch.manual_seed(99)
    assert resumed.events == unbroken.events
    assert_checkpoints_equal(Checkpoint.load(tmp_path / "resumed"), Checkpoint.load(tmp_path / "unbroken"))
