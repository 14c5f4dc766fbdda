"""LoRA adapters in the folders of Hugging Face's PEFT, written and read without PEFT itself.

The layout is that of PEFT 0.21: for each layer that is changed, `base_model.model.<layer>.lora_A.weight`
(R, I) and `.lora_B.weight` (O, R); the settings name every layer.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from tuningfork.atomic import replacing, write_text
from tuningfork.errors import FormatError
from tuningfork.models.low_rank import LowRankUpdate

_SETTINGS, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_TENSOR = re.compile(r"base_model\.model\.(.+)\.lora_(A|B)\.weight")
_CHANGING = ("use_dora", "use_rslora", "use_qalora", "lora_bias", "rank_pattern", "alpha_pattern",
             "modules_to_save", "target_parameters", "trainable_token_indices", "alora_invocation_tokens",
             "layer_replication")  # fmt: skip
"""Settings that make another update of the same tensors, or add some; none is set in what is written."""


def save_lora(update: LowRankUpdate, folder: Path, *, base_model_name: str) -> int:
    """Write `update` as a PEFT adapter into `folder`; return its size in bytes.

    The settings are written last, so an unfinished folder is never taken for an adapter.

    Raises:
        FormatError: If a value is not finite.
    """
    tensors = {}
    for name, (down, up) in update.pairs.items():
        for letter, tensor in (("A", down), ("B", up)):
            stored = tensor.detach().to("cpu", torch.float32, copy=True).contiguous()
            if not stored.isfinite().all():
                raise FormatError(
                    f"{folder}: the adapter of {name} holds values that are not finite; "
                    "was the training unstable?"
                )
            tensors[f"base_model.model.{name}.lora_{letter}.weight"] = stored
    settings = {
        "base_model_name_or_path": base_model_name,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "lora_alpha": update.scale * update.rank,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "r": update.rank,
        "target_modules": list(update.pairs),
        "task_type": "CAUSAL_LM",
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _SETTINGS).unlink(missing_ok=True)
    with replacing(folder / _WEIGHTS) as temporary:
        save_file(tensors, str(temporary), metadata={"format": "pt"})
    write_text(folder / _SETTINGS, json.dumps(settings, indent=2) + "\n")
    return sum((folder / name).stat().st_size for name in (_WEIGHTS, _SETTINGS))


def load_lora(folder: Path) -> LowRankUpdate:
    """Return the update that the PEFT adapter in `folder` makes, in float32 on the CPU.

    Raises:
        FormatError: If there is none, it is another kind of adapter, or its files are damaged.
    """
    settings = _settings(folder)
    try:
        tensors = load_file(str(folder / _WEIGHTS))
    except (SafetensorError, OSError) as error:
        raise FormatError(f"{folder / _WEIGHTS}: cannot be read ({error})") from error
    rank, alpha = settings.get("r"), settings.get("lora_alpha")
    if not isinstance(rank, int) or rank < 1 or not isinstance(alpha, int | float) or not alpha > 0:
        raise FormatError(
            f"{folder / _SETTINGS}: r and lora_alpha must be numbers above 0, found {rank!r} and {alpha!r}"
        )
    pairs = _pairs(folder / _WEIGHTS, tensors, rank)
    return LowRankUpdate(pairs, alpha / rank)


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / _SETTINGS
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: cannot be read ({error})") from error
    kind = settings.get("peft_type") if isinstance(settings, dict) else None
    if kind != "LORA":
        raise FormatError(f"{path}: peft_type must be LORA, found {kind!r}")
    if unknown := sorted(name for name in _CHANGING if settings.get(name)):
        raise FormatError(f"{path}: {unknown[0]} is set, which is not supported here")
    return dict(settings)


def _pairs(path: Path, tensors: Mapping[str, Tensor], rank: int) -> dict[str, tuple[Tensor, Tensor]]:
    by_layer: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        matched = _TENSOR.fullmatch(name)
        if matched is None or tensor.ndim != 2 or 0 in tensor.shape:
            raise FormatError(f"{path}: {name} of shape {tuple(tensor.shape)} is no tensor of LoRA")
        if not tensor.is_floating_point() or not tensor.isfinite().all():
            raise FormatError(f"{path}: {name} holds values that are not finite numbers")
        by_layer.setdefault(matched[1], {})[matched[2]] = tensor.float()
    pairs = {}
    for layer, found in sorted(by_layer.items()):
        if found.keys() != {"A", "B"}:
            raise FormatError(f"{path}: {layer} has lora_{min(found)} alone, expected lora_A and lora_B")
        if (ranks := (found["A"].shape[0], found["B"].shape[1])) != (rank, rank):
            raise FormatError(f"{path}: {layer} has ranks {ranks}, the settings say {rank}")
        pairs[layer] = (found["A"], found["B"])
    if not pairs:
        raise FormatError(f"{path}: holds no tensors")
    return pairs
