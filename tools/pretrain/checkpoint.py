"""Checkpoints: safetensors in small shards, a JSON beside them, the folder whole or absent."""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from tools.pretrain.schedule import Decay
from tuningfork.errors import RunError

BYTES_PER_SHARD = 15 << 20
_STATE_FILE = "state.json"
_PIECE = "#"
"""Between the name of a tensor that was cut along its first dimension and the number of the piece."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything that the next step depends on."""

    step: int
    """Optimizer steps done."""
    tokens: int
    seconds: float
    decay: Decay | None
    tensors: Mapping[str, Tensor]
    """Parameters as `model.<name>`, optimizer state as `optimizer.<name>.<entry>`."""


def save(checkpoint: Checkpoint, folder: Path) -> Path:
    """Write `folder/step-<n>` and remove older ones."""
    target = folder / f"step-{checkpoint.step:08d}"
    temporary = folder / f".{target.name}.part"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    save_tensors(checkpoint.tensors, temporary)
    state = {
        "step": checkpoint.step,
        "tokens": checkpoint.tokens,
        "seconds": checkpoint.seconds,
        "decay": asdict(checkpoint.decay) if checkpoint.decay else None,
    }
    (temporary / _STATE_FILE).write_text(json.dumps(state) + "\n", encoding="utf-8")
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)
    for older in sorted(folder.glob("step-*")):
        if older != target:
            shutil.rmtree(older)
    return target


def latest(folder: Path) -> Checkpoint | None:
    """Read the newest checkpoint in a folder; None if there is none.

    Raises:
        RunError: The checkpoint is damaged.
    """
    found = sorted(folder.glob("step-*"))
    if not found:
        return None
    try:
        state: Any = json.loads((found[-1] / _STATE_FILE).read_text(encoding="utf-8"))
        decay = Decay(**state["decay"]) if state["decay"] else None
        return Checkpoint(state["step"], state["tokens"], state["seconds"], decay, load_tensors(found[-1]))
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise RunError(
            f"{found[-1]}: a damaged checkpoint ({error}); remove the folder to start over"
        ) from None


def save_tensors(tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Write tensors to `00000.safetensors` and on, each file below 16 MiB."""
    shard: dict[str, Tensor] = {}
    size, number = 0, 0
    for name, piece in _pieces(tensors):
        num_bytes = piece.numel() * piece.element_size()
        if shard and size + num_bytes > BYTES_PER_SHARD:
            save_file(shard, folder / f"{number:05d}.safetensors")
            shard, size, number = {}, 0, number + 1
        shard[name] = piece
        size += num_bytes
    save_file(shard, folder / f"{number:05d}.safetensors")


def load_tensors(folder: Path) -> dict[str, Tensor]:
    """Read what `save_tensors` wrote."""
    found: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        found.update(load_file(path))
    cut: dict[str, list[tuple[int, Tensor]]] = {}
    whole: dict[str, Tensor] = {}
    for name, tensor in found.items():
        stem, mark, number = name.rpartition(_PIECE)
        if mark:
            cut.setdefault(stem, []).append((int(number), tensor))
        else:
            whole[name] = tensor
    for name, pieces in cut.items():
        whole[name] = torch.cat([piece for _, piece in sorted(pieces, key=lambda numbered: numbered[0])])
    return whole


def _pieces(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        num_bytes = tensor.numel() * tensor.element_size()
        if num_bytes <= BYTES_PER_SHARD or tensor.ndim == 0:
            yield name, tensor.clone()
            continue
        rows = max(1, BYTES_PER_SHARD * tensor.shape[0] // num_bytes)
        for number, start in enumerate(range(0, tensor.shape[0], rows)):
            yield f"{name}{_PIECE}{number}", tensor[start : start + rows].clone()
