"""The optimizer of a training, and the learning rate of each of its parameters."""

import torch
from torch import Tensor, nn

from tuningfork.training.arguments import TrainingArguments
from tuningfork.tuning.soft.method import HasRateFactors, SoftMethod

_FACTOR = "rate_factor"


def build_optimizer(method: SoftMethod, module: nn.Module, arguments: TrainingArguments) -> torch.optim.AdamW:
    """AdamW over the parameters of `module`, those that learn at the same rate in one group.

    Raises:
        ValueError: if `method` names a parameter that `module` does not have, or a factor is not above 0.
    """
    parameters = dict(module.named_parameters())
    factors = method.rate_factors if isinstance(method, HasRateFactors) else {}
    held = {name: {p for p in parameters if p == name or p.startswith(f"{name}.")} for name in factors}
    if unknown := sorted(name for name, found in held.items() if not found):
        raise ValueError(
            f"{method.name} has a rate factor for {unknown[0]!r}, expected one of {sorted(parameters)}"
        )
    if wrong := {name: factor for name, factor in factors.items() if not factor > 0}:
        raise ValueError(f"rate factors of {method.name} must be above 0, found {wrong}")
    groups: dict[float, list[Tensor]] = {}
    for name, parameter in parameters.items():
        of_name = [factors[held_by] for held_by, found in held.items() if name in found]
        groups.setdefault(of_name[0] if of_name else 1.0, []).append(parameter)
    optimizer = torch.optim.AdamW(
        [{"params": group, _FACTOR: factor} for factor, group in groups.items()],
        weight_decay=arguments.weight_decay,
    )
    set_learning_rate(optimizer, arguments.learning_rate)
    return optimizer


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Have every parameter learn at `rate` times its factor from now on."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group[_FACTOR]
