"""Copies of a frozen model whose weights may be changed."""

import copy
from typing import cast

import torch
from torch import nn

from tuningfork.models.frozen import FrozenModel


def float32_copy(model: FrozenModel) -> FrozenModel:
    """A copy of `model` whose weights are its own, in float32; buffers keep the type they are computed in."""
    network = copy.deepcopy(model.network)
    for parameter in cast(nn.Module, network).parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.float()
    return FrozenModel(network, model.tokenizer, name=model.name)


@torch.no_grad()
def copy_weights(source: FrozenModel, target: FrozenModel) -> None:
    """Give `target`, a copy of `source`, the weights that `source` has, in its own number format."""
    theirs = dict(cast(nn.Module, source.network).named_parameters())
    for name, parameter in cast(nn.Module, target.network).named_parameters():
        parameter.copy_(theirs[name])
