"""Low-rank changes of a frozen network's linear layers, added while a prompt that has them is run.

The weights themselves are never written: a hook adds what the change makes of a layer's input to what the
layer gives. Hooks are there while such a prompt runs, and act in the thread that runs it alone, so prompts
with changes of their own, and those without any, share one network.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers.pytorch_utils import Conv1D

from tuningfork.errors import PromptError


@dataclass(frozen=True, slots=True, eq=False)
class LowRankUpdate:
    """Adds `scale * up @ down` to the weights of linear layers, without writing them.

    `pairs` holds `down` (R, I) and `up` (O, R) by the name of the layer in the network; the layer reads I
    numbers and gives O.
    """

    pairs: Mapping[str, tuple[Tensor, Tensor]]
    scale: float

    def __post_init__(self) -> None:
        if not self.pairs:
            raise ValueError("a low-rank update changes at least one layer, found none")
        ranks = {tensor.shape[side] for pair in self.pairs.values() for side, tensor in enumerate(pair)}
        if len(ranks) != 1:
            raise ValueError(f"every layer of a low-rank update needs one rank, found {sorted(ranks)}")

    @property
    def rank(self) -> int:
        """R."""
        return next(iter(self.pairs.values()))[0].shape[0]

    def tensors(self) -> list[Tensor]:
        """Every tensor, in a fixed order."""
        return [tensor for pair in self.pairs.values() for tensor in pair]

    def mapped(self, change: Callable[[Tensor], Tensor]) -> "LowRankUpdate":
        """The same update with `change` applied to every tensor."""
        return LowRankUpdate(
            {name: (change(down), change(up)) for name, (down, up) in self.pairs.items()}, self.scale
        )

    def detached(self) -> "LowRankUpdate":
        """A copy without autograd history."""
        return self.mapped(lambda tensor: tensor.detach().clone())


_ACTIVE: ContextVar[LowRankUpdate | None] = ContextVar("active low-rank update", default=None)
"""The update that is applied where this is read; hooks of others stand still."""


@contextmanager
def applied(network: nn.Module, update: LowRankUpdate | None) -> Iterator[None]:
    """Within this, `network` runs as if its weights were changed by `update`, or by nothing."""
    if update is _ACTIVE.get():
        yield
        return
    before = _ACTIVE.set(update)
    hooks = [] if update is None else [(name, partial(_add, update, *p)) for name, p in update.pairs.items()]
    handles = []
    try:
        for name, hook in hooks:
            handles.append(network.get_submodule(name).register_forward_hook(hook, with_kwargs=True))
        yield
    finally:
        for handle in handles:
            handle.remove()
        _ACTIVE.reset(before)


@torch.no_grad()
def merge(network: nn.Module, update: LowRankUpdate) -> None:
    """Write `update` into the weights of `network`, for good; it then runs so on its own.

    Raises:
        PromptError: if the update does not fit.
    """
    check_update(network, update)
    for name, (down, up) in update.pairs.items():
        layer = network.get_submodule(name)
        weight = layer.get_parameter("weight")
        change = update.scale * (up.double() @ down.double()).to(weight.device)
        weight.copy_(weight.double() + (change.T if isinstance(layer, Conv1D) else change))


def check_update(network: nn.Module, update: LowRankUpdate) -> None:
    """Check that every layer of `update` is a linear layer of `network` of the same size.

    Raises:
        PromptError: if one is not.
    """
    for name, (down, up) in update.pairs.items():
        try:
            layer = network.get_submodule(name)
        except AttributeError as error:
            raise PromptError(f"the adapter changes layer {name}, which the model does not have") from error
        expected, found = linear_shape(layer), (up.shape[0], down.shape[1])
        if expected != found:
            raise PromptError(f"the adapter's change of {name} is {found}, the layer of the model {expected}")


def linear_shape(layer: nn.Module) -> tuple[int, int] | None:
    """How many numbers a linear layer gives and reads, (O, I); None if it is none."""
    if isinstance(layer, Conv1D):
        return layer.weight.shape[1], layer.weight.shape[0]
    if isinstance(layer, nn.Linear):
        return layer.out_features, layer.in_features
    return None


def _add(
    update: LowRankUpdate,
    down: Tensor,
    up: Tensor,
    _layer: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    output: Tensor,
) -> Tensor | None:
    if _ACTIVE.get() is not update:
        return None
    (states,) = (*args, *kwargs.values())
    change = update.scale * linear(linear(states.to(down.dtype), down), up)
    return (output + change).to(output.dtype)
