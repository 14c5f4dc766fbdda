"""The hash of weights as they lie in a folder, where the network that was made of them holds others."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import PreTrainedModel

from tuningfork.models.identity import update_digest

_INDEX, _SINGLE = "model.safetensors.index.json", "model.safetensors"


def hash_stored_weights(folder: Path, network: PreTrainedModel) -> str | None:
    """What `hash_weights` says of the network saved in `folder`; one tensor is in memory at a time.

    `network` was loaded from there and says how the weights are called. None where that is not known: they
    are in another format than safetensors, or have names that transformers changes when it loads them.
    """
    files = _files_by_tensor(folder)
    sources = {name: _tensor_of(name, network, files) for name in _names(network)}
    digest = hashlib.sha256()
    with ExitStack() as stack:
        opened = {
            file: stack.enter_context(safe_open(str(folder / file), framework="pt"))
            for file in sorted(set(files.values()))
        }
        dtype = _stored_dtype(folder, opened)
        for name, source in sorted(sources.items()):
            if source is None or dtype is None:
                return None
            update_digest(digest, name, opened[files[source]].get_tensor(source), dtype)
    return digest.hexdigest()


def _files_by_tensor(folder: Path) -> dict[str, str]:
    """In which file of `folder` each tensor lies."""
    if (folder / _INDEX).is_file():
        described = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        return dict(described["weight_map"])
    if not (folder / _SINGLE).is_file():
        return {}
    with safe_open(str(folder / _SINGLE), framework="pt") as file:
        return dict.fromkeys(file.keys(), _SINGLE)


def _names(network: PreTrainedModel) -> list[str]:
    """Weights and buffers of `network`, without what quantisation adds to them."""
    buffers = network.state_dict().keys() & dict(network.named_buffers(remove_duplicate=False)).keys()
    return [*dict(network.named_parameters(remove_duplicate=False)), *buffers]


def _tensor_of(name: str, network: PreTrainedModel, files: Mapping[str, str]) -> str | None:
    """What is stored for `name`: itself, perhaps without the name of the base, or what it is tied to."""
    weights = dict(network.named_parameters(remove_duplicate=False))
    tied = [other for other, weight in weights.items() if weight is weights.get(name)]
    candidates = [name, *(other for other in tied if other != name)]
    candidates += [other.removeprefix(f"{network.base_model_prefix}.") for other in candidates]
    return next((candidate for candidate in candidates if candidate in files), None)


def _stored_dtype(folder: Path, opened: Mapping[str, Any]) -> torch.dtype | None:
    """The type that the weights are loaded in as stored: as the config says, else that of the first."""
    described = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    named = getattr(torch, str(described.get("dtype") or described.get("torch_dtype")), None)
    if isinstance(named, torch.dtype):
        return named
    tensors = (file.get_tensor(name) for file in opened.values() for name in file.keys())  # noqa: SIM118
    return next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), None)
