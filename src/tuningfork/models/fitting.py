"""Whether what a prompt brings along fits a model, and its tensors as the model takes them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from tuningfork.errors import PromptError
from tuningfork.models.artefacts import KeyValuePrefix
from tuningfork.models.classification_head import ClassificationHead
from tuningfork.models.prefix import KeyValues

HeadShapes = tuple[tuple[int, int], tuple[int, int]]
"""Heads and head size of the keys, then of the values, of a layer."""


def head_shapes(keys: Tensor, values: Tensor) -> HeadShapes:
    """Heads and head size of keys and values, each (A, P, D) or (1, A, P, D)."""
    return (keys.shape[-3], keys.shape[-1]), (values.shape[-3], values.shape[-1])


def fitted_layers(
    prefix: KeyValuePrefix,
    shapes: Sequence[HeadShapes],
    *,
    device: torch.device,
    dtype: torch.dtype,
    may_leave_out: bool = False,
) -> tuple[KeyValues, ...]:
    """Keys and values of `prefix` by layer, each (1, A, P, D), for a model whose layers keep `shapes`.

    Layers that the prefix leaves out are filled with zeros, where it `may_leave_out` some.

    Raises:
        PromptError: if it does not fit.
    """
    if len(prefix.layers) != len(shapes):
        raise PromptError(f"the prefix has {len(prefix.layers)} layers, the model has {len(shapes)}")
    if prefix.position != 0:
        raise PromptError(f"a key-value prefix stands in front, at position 0; found {prefix.position}")
    count = prefix.num_virtual_tokens
    layers: list[KeyValues] = []
    for index, (pair, expected) in enumerate(zip(prefix.layers, shapes, strict=True)):
        if pair is None:
            if not may_leave_out:
                raise PromptError(f"the prefix has no keys and values for layer {index}")
            keys, values = (
                torch.zeros(1, heads, count, size, device=device, dtype=dtype) for heads, size in expected
            )
        elif (found := head_shapes(*pair)) != expected:
            raise PromptError(
                f"layer {index} of the prefix has (heads, head size) {found} for (keys, values), "
                f"the model has {expected}"
            )
        else:
            keys, values = (tensor[None].to(device, dtype) for tensor in pair)
        layers.append((keys, values))
    return tuple(layers)


def fitted_head(head: ClassificationHead, width: int, device: torch.device) -> ClassificationHead:
    """`head` in float32 on `device`, for a model whose states are `width` wide.

    Raises:
        PromptError: if it reads states of another width.
    """
    if (found := head.weight.shape[1]) != width:
        raise PromptError(f"the prompt's head reads states {found} wide, the model's are {width}")
    return head.mapped(lambda tensor: tensor.to(device, torch.float32))
