"""What a prompt was made of, as a safetensors file beside it."""

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tuningfork.atomic import replacing
from tuningfork.errors import FormatError
from tuningfork.models.parts import ContextTokens, FrozenTokens, PromptParts, TaskProduct

_KIND = "tuningfork.parts"
_PRODUCT = ("shared", "by_token", "by_feature")
_CONTEXT = ("ids", "mask", "types")
_NAMES = {"task_product": _PRODUCT, "context_tokens": _CONTEXT, "frozen_tokens": ("count",)}


def save_parts(parts: PromptParts, path: Path) -> None:
    """Write `parts` to `path`, whole or not at all: numbers of factors as float32, the rest as int64."""
    match parts:
        case TaskProduct():
            kind, dtype = "task_product", torch.float32
        case ContextTokens():
            kind, dtype = "context_tokens", torch.int64
        case FrozenTokens():
            kind, dtype = "frozen_tokens", torch.int64
    tensors = {
        name: torch.as_tensor(getattr(parts, name)).detach().to("cpu", dtype, copy=True).contiguous()
        for name in _NAMES[kind]
    }
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={_KIND: kind})


def load_parts(path: Path) -> PromptParts:
    """Return what `save_parts` wrote to `path`.

    Raises:
        FormatError: if the file is truncated, or is not one of these.
    """
    try:
        with safe_open(path, framework="pt") as opened:
            kind = (opened.metadata() or {}).get(_KIND, "")
            tensors: dict[str, Tensor] = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise FormatError(f"{path}: truncated or not a safetensors file ({error})") from error
    if set(tensors) != set(_NAMES.get(kind, ())):
        raise FormatError(
            f"{path}: not the parts of a prompt; export with --peft-type left out, or tune again"
        )
    try:
        if kind == "task_product":
            return TaskProduct(*(tensors[name].float() for name in _PRODUCT))
        if kind == "context_tokens":
            return ContextTokens(*(tuple(tensors[name].long().tolist()) for name in _CONTEXT))
        return FrozenTokens(int(tensors["count"]))
    except (ValueError, RuntimeError, TypeError) as error:
        raise FormatError(f"{path}: not the parts of a prompt ({error})") from error
