"""Soft prompts in the folders of Hugging Face's PEFT, written and read without PEFT itself.

The layout is that of PEFT 0.21. A prompt-tuning folder holds one tensor, `prompt_embeddings` (P, H); a
prefix-tuning folder one of (P, L * 2 * A * D), where keys of layer l come at index 2l and values at 2l + 1.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import DynamicCache, PretrainedConfig
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from tuningfork.atomic import replacing, write_text
from tuningfork.errors import FormatError
from tuningfork.models.artefacts import (
    AdaptedPrompt,
    DecomposedPrompt,
    HeadedPrefix,
    InputPrompt,
    InstancePrompt,
    KeyValuePrefix,
    PlacedPrompt,
    SoftPrompt,
)

_SETTINGS, _WEIGHTS, _BINARY_WEIGHTS = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
_PROMPT = "prompt_embeddings"
_PEFT_VERSION = "0.21.2"
"""The version whose layout is written."""

_AT_INPUT = ("PROMPT_TUNING", "P_TUNING", "CPT", "MULTITASK_PROMPT_TUNING")
_KEY_VALUE = ("PREFIX_TUNING", "CARTRIDGE")
_TENSORS = {_PROMPT, "prefix_task_cols", "prefix_task_rows"}
_WITHOUT_FORMAT: dict[type, str] = {
    **dict.fromkeys(
        (InstancePrompt, DecomposedPrompt),
        "this prompt changes the tokens of each row, and PEFT has no format for such prompts; "
        "tune one that does not (--method) to export it",
    ),
    HeadedPrefix: "this prompt has a head that tells labels apart, and PEFT's prompts of causal models have "
    "none; tune one that says its labels (--method) to export it",
    AdaptedPrompt: "this prompt has an adapter, which has a PEFT folder of its own; export both apart",
    PlacedPrompt: "this prompt has virtual tokens among the words, and PEFT knows only those in front; "
    "tune one with --placement front to export it",
}
"""Why there is no PEFT folder for a kind of prompt."""


@dataclass(frozen=True, slots=True)
class KeyValueShape:
    """What each layer of a model keeps for one token: keys and values of (A, D), in L layers alike."""

    num_layers: int
    num_heads: int
    head_size: int

    @property
    def width(self) -> int:
        """Numbers for one virtual token in all layers, L * 2 * A * D."""
        return self.num_layers * 2 * self.num_heads * self.head_size


def key_value_shape(config: PretrainedConfig) -> KeyValueShape:
    """Return the shape of the keys and values that the model of `config` keeps.

    Raises:
        FormatError: If layers keep anything else, nothing, or differ in shape: PEFT's prefix has one shape.
    """
    text = config.get_text_config(decoder=True)
    where = f"PEFT's prefix format does not fit {config.model_type}"
    if getattr(text, "num_attention_heads", None) is None or getattr(text, "kv_lora_rank", None) is not None:
        raise FormatError(f"{where}: its layers do not keep plain keys and values; use a prompt at the input")
    kinds = {type(layer) for layer in DynamicCache(config=config).layers}
    if other := sorted(kind.__name__ for kind in kinds - {DynamicLayer, DynamicSlidingWindowLayer}):
        raise FormatError(
            f"{where}: it has layers without keys and values of their own ({', '.join(other)}); "
            "use a prompt at the input"
        )
    layers = getattr(text, "per_layer_config", None) or [text] * text.num_hidden_layers
    shapes = sorted({(_num_key_value_heads(layer), _head_size(layer)) for layer in layers})
    if len(shapes) != 1:
        raise FormatError(
            f"{where}: its layers keep keys and values of different (heads, size), {shapes}; "
            "use a prompt at the input"
        )
    return KeyValueShape(text.num_hidden_layers, *shapes[0])


def export_peft(
    artefact: SoftPrompt,
    folder: Path,
    *,
    config: PretrainedConfig,
    base_model_name: str,
    notes: Mapping[str, str],
) -> Path:
    """Write `artefact` as a PEFT adapter into `folder` and return `folder`.

    An `InputPrompt` becomes PROMPT_TUNING, a `KeyValuePrefix` PREFIX_TUNING. An adapter already in the
    folder is replaced; the settings are written last, so an unfinished folder is never taken for an adapter.

    Args:
        artefact: the soft prompt.
        folder: created where missing.
        config: of the base model.
        base_model_name: a Hugging Face name or a folder, from which PEFT loads the base model.
        notes: what else the reader of the README should know, such as task, template and score.

    Raises:
        FormatError: If the prompt does not fit the model or the format, or a value is not finite.
    """
    if not isinstance(artefact, InputPrompt | KeyValuePrefix):
        raise FormatError(_WITHOUT_FORMAT[type(artefact)])
    if isinstance(artefact, InputPrompt):
        width = _embedding_width(config)
        if artefact.embeddings.shape[1] != width:
            raise FormatError(
                f"the soft prompt is {artefact.embeddings.shape[1]} wide, the embeddings of "
                f"{config.model_type} are {width}"
            )
        tensor = artefact.embeddings
        settings = _prompt_tuning_settings(config, width)
    else:
        shape = key_value_shape(config)
        tensor = _flatten(artefact, shape)
        settings = _prefix_tuning_settings(shape)
    tensor = tensor.detach().to("cpu", torch.float32, copy=True).contiguous()
    _check_finite(folder, _PROMPT, tensor)
    settings |= {
        "auto_mapping": None,
        "base_model_name_or_path": base_model_name,
        "inference_mode": True,
        "modules_to_save": None,
        "num_transformer_submodules": 1,
        "num_virtual_tokens": tensor.shape[0],
        "peft_version": _PEFT_VERSION,
        "revision": None,
        "task_type": "CAUSAL_LM",
    }
    (folder / _SETTINGS).unlink(missing_ok=True)
    with replacing(folder / _WEIGHTS) as temporary:
        save_file({_PROMPT: tensor}, temporary, metadata={"format": "pt"})
    write_text(folder / "README.md", _readme(settings, notes))
    write_text(folder / _SETTINGS, json.dumps(settings, indent=2, sort_keys=True))
    return folder


def import_peft(
    folder: Path, *, config: PretrainedConfig, task_id: int | None = None
) -> tuple[SoftPrompt, dict[str, str]]:
    """Return the soft prompt of a PEFT folder, in float32, and where it comes from.

    Reads PROMPT_TUNING, P_TUNING, CPT and MULTITASK_PROMPT_TUNING (as `InputPrompt`), PREFIX_TUNING and
    CARTRIDGE (as `KeyValuePrefix`) of causal models. Nothing that the settings name, such as a tokenizer or
    a file of initial weights, is opened. `adapter_model.bin` is read only where there is no safetensors file
    and only as plain tensors.

    Args:
        folder: holds `adapter_config.json` and the weights.
        config: of the base model that the prompt is to run on.
        task_id: which prompt of a MULTITASK_PROMPT_TUNING folder.

    Returns:
        The prompt, and its `peft_type`, `peft_version`, `base_model_name_or_path` and `task_id`, as far as
        they are known.

    Raises:
        FormatError: If the folder is no such adapter, is incomplete or broken, leads to files elsewhere, or
            does not fit the model.
    """
    settings = _read_settings(folder)
    peft_type = settings.get("peft_type")
    _check_settings(folder, settings)
    tensors = _read_tensors(folder)
    prompt = _prompt_tensor(folder, settings, tensors)
    origin = {
        name: value
        for name in ("peft_type", "peft_version", "base_model_name_or_path")
        if isinstance(value := settings.get(name), str) and value
    }
    if (task_id is not None) != (peft_type == "MULTITASK_PROMPT_TUNING"):
        raise FormatError(
            f"{folder}: {peft_type} "
            + ("holds one prompt; leave out the task id" if task_id is not None else "needs a task id")
        )
    if peft_type in _KEY_VALUE:
        return _unflatten(folder, settings, prompt, key_value_shape(config)), origin
    if prompt.shape[1] != (width := _embedding_width(config)):
        raise FormatError(
            f"{folder}: the prompt is {prompt.shape[1]} wide, the embeddings of {config.model_type} are "
            f"{width}; it was made for another base model"
        )
    if task_id is not None:
        return InputPrompt(_task_prompt(folder, prompt, tensors, task_id)), {
            **origin,
            "task_id": str(task_id),
        }
    return InputPrompt(prompt), origin


def _embedding_width(config: PretrainedConfig) -> int:
    text = config.get_text_config(decoder=True)
    # OPT's smallest models project their embeddings to the hidden size.
    return int(getattr(text, "word_embed_proj_dim", None) or text.hidden_size)


def _num_key_value_heads(layer: PretrainedConfig) -> int:
    if (heads := getattr(layer, "num_key_value_heads", None)) is not None:
        return int(heads)
    # Falcon's newer architecture repeats the shared heads before it keeps them.
    is_shared = getattr(layer, "multi_query", False) and not getattr(layer, "new_decoder_architecture", False)
    return 1 if is_shared else int(layer.num_attention_heads)


def _head_size(layer: PretrainedConfig) -> int:
    return int(getattr(layer, "head_dim", None) or layer.hidden_size // layer.num_attention_heads)


def _flatten(prefix: KeyValuePrefix, shape: KeyValueShape) -> Tensor:
    """Return (P, L * 2 * A * D), PEFT's order of a prefix."""
    if prefix.position != 0:
        raise FormatError(f"PEFT's prefixes stand at position 0, this one at {prefix.position}")
    if len(prefix.layers) != shape.num_layers:
        raise FormatError(f"the prefix has {len(prefix.layers)} layers, the model {shape.num_layers}")
    tensors = []
    for index, pair in enumerate(prefix.layers):
        if pair is None:
            raise FormatError(
                f"PEFT needs keys and values in every layer, the prefix has none in layer {index}; "
                "tune one that has them (--method) to export it"
            )
        for tensor in pair:
            found = (tensor.shape[0], tensor.shape[2])
            if found != (shape.num_heads, shape.head_size):
                raise FormatError(
                    f"layer {index} of the prefix has (heads, size) {found}, the model "
                    f"{(shape.num_heads, shape.head_size)}"
                )
            tensors.append(tensor)
    return torch.stack(tensors).permute(2, 0, 1, 3).reshape(prefix.num_virtual_tokens, shape.width)


def _unflatten(
    folder: Path, settings: dict[str, Any], prompt: Tensor, shape: KeyValueShape
) -> KeyValuePrefix:
    expected = {
        "num_layers": shape.num_layers,
        "num_attention_heads": shape.num_heads,
        "token_dim": shape.num_heads * shape.head_size,
    }
    for name, value in expected.items():
        if (found := settings.get(name)) != value:
            raise FormatError(
                f"{folder}: {name} is {found}, the model has {value} (counting key-value heads); "
                "it was made for another base model"
            )
    if prompt.shape[1] != shape.width:
        raise FormatError(f"{folder}: {_PROMPT} is {prompt.shape[1]} wide, expected {shape.width}")
    parts = prompt.view(-1, 2 * shape.num_layers, shape.num_heads, shape.head_size).permute(1, 2, 0, 3)
    return KeyValuePrefix(
        tuple(
            (parts[2 * layer].contiguous(), parts[2 * layer + 1].contiguous())
            for layer in range(shape.num_layers)
        )
    )


def _task_prompt(folder: Path, prompt: Tensor, tensors: Mapping[str, Tensor], task_id: int) -> Tensor:
    """Return (P, H): the prompt all tasks share, scaled by the low-rank product of one task."""
    columns, rows = tensors.get("prefix_task_cols"), tensors.get("prefix_task_rows")
    if columns is None or rows is None:
        raise FormatError(f"{folder}: tensor prefix_task_cols or prefix_task_rows is missing")
    num_tasks, rank = columns.shape[0], columns.shape[-1]
    expected = ((num_tasks, prompt.shape[0], rank), (num_tasks, rank, prompt.shape[1]))
    if (tuple(columns.shape), tuple(rows.shape)) != expected:
        raise FormatError(
            f"{folder}: prefix_task_cols {tuple(columns.shape)} and prefix_task_rows {tuple(rows.shape)} "
            f"do not fit a prompt of {tuple(prompt.shape)}"
        )
    if not 0 <= task_id < num_tasks:
        raise FormatError(f"{folder}: task id {task_id}, the folder holds tasks 0 to {num_tasks - 1}")
    return prompt * (columns[task_id] @ rows[task_id])


def _read_settings(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise FormatError(f"{folder}: no such folder; expected a PEFT adapter")
    path = _inside(folder, _SETTINGS)
    if not path.is_file():
        nested = sorted(found.parent.name for found in folder.glob(f"*/{_SETTINGS}"))
        hint = f"; did you mean its subfolder {nested[0]}?" if nested else "; expected a PEFT adapter"
        raise FormatError(f"{folder}: no {_SETTINGS}{hint}")
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: not JSON ({error})") from error
    if not isinstance(settings, dict):
        raise FormatError(f"{path}: expected a JSON object, found {type(settings).__name__}")
    return settings


def _check_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    peft_type, task_type = settings.get("peft_type"), settings.get("task_type")
    readable = (*_AT_INPUT, *_KEY_VALUE)
    if peft_type not in readable:
        raise FormatError(
            f"{folder}: peft_type {peft_type} is not a soft prompt that can be read; readable are "
            f"{', '.join(readable)}"
        )
    submodules = settings.get("num_transformer_submodules")
    if task_type not in (None, "CAUSAL_LM") or submodules not in (None, 1):
        raise FormatError(
            f"{folder}: made for {task_type or f'{submodules} submodules'}; "
            "only prompts of causal language models (CAUSAL_LM) can be read"
        )


def _prompt_tensor(folder: Path, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Tensor:
    for name, tensor in tensors.items():
        if name not in _TENSORS:
            raise FormatError(
                f"{folder}: tensor {name} is not part of a soft prompt; an adapter that also changes the "
                "model cannot be read"
            )
        if not tensor.is_floating_point():
            raise FormatError(f"{folder}: tensor {name} is {tensor.dtype}, expected floating point")
        _check_finite(folder, name, tensor)
    prompt = tensors.get(_PROMPT)
    if prompt is None:
        raise FormatError(f"{folder}: tensor {_PROMPT} is missing, found {sorted(tensors)}")
    if prompt.ndim != 2 or 0 in prompt.shape:
        raise FormatError(f"{folder}: {_PROMPT} must have two dimensions, found shape {tuple(prompt.shape)}")
    if prompt.shape[0] != (stated := settings.get("num_virtual_tokens")):
        raise FormatError(f"{folder}: {_PROMPT} has {prompt.shape[0]} rows, num_virtual_tokens is {stated}")
    return prompt


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    path = _inside(folder, _WEIGHTS)
    binary = _inside(folder, _BINARY_WEIGHTS)
    if path.is_file():
        try:
            tensors = load_file(path)
        except (OSError, SafetensorError) as error:
            raise FormatError(f"{path}: truncated or not a safetensors file ({error})") from error
    elif binary.is_file():
        tensors = _read_binary(binary)
    else:
        raise FormatError(f"{folder}: neither {_WEIGHTS} nor {_BINARY_WEIGHTS} is there")
    return {
        name: tensor.to(torch.float32) if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }


def _read_binary(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch promises no error type for a file it cannot read
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FormatError(f"{path}: not a file of plain tensors ({reason})") from error
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise FormatError(f"{path}: expected tensors by name, found {type(content).__name__}")
    return {str(name): tensor.detach() for name, tensor in content.items()}


def _inside(folder: Path, name: str) -> Path:
    """Return the path of `name`, which must not lead elsewhere; the Hub's cache links to its own blobs."""
    path = folder / name
    target, home = path.resolve(), folder.resolve()
    blobs = [parent.parent / "blobs" for parent in (home, *home.parents) if parent.name == "snapshots"]
    if not any(target.is_relative_to(allowed) for allowed in (home, *blobs)):
        raise FormatError(
            f"{path}: leads out of its folder, to {target}; copy the file instead of linking it"
        )
    return path


def _check_finite(folder: Path, name: str, tensor: Tensor) -> None:
    if not tensor.isfinite().all():
        raise FormatError(f"{folder}: tensor {name} holds values that are not finite")


def _prompt_tuning_settings(config: PretrainedConfig, width: int) -> dict[str, Any]:
    text = config.get_text_config(decoder=True)
    return {
        "num_attention_heads": getattr(text, "num_attention_heads", 1),
        "num_layers": text.num_hidden_layers,
        "peft_type": "PROMPT_TUNING",
        "prompt_tuning_init": "RANDOM",
        "prompt_tuning_init_text": None,
        "token_dim": width,
        "tokenizer_kwargs": None,
        "tokenizer_name_or_path": None,
    }


def _prefix_tuning_settings(shape: KeyValueShape) -> dict[str, Any]:
    width = shape.num_heads * shape.head_size
    return {
        "encoder_hidden_size": width,
        "init_weights": None,
        "num_attention_heads": shape.num_heads,
        "num_layers": shape.num_layers,
        "peft_type": "PREFIX_TUNING",
        "prefix_projection": False,
        "token_dim": width,
    }


def _readme(settings: Mapping[str, Any], notes: Mapping[str, str]) -> str:
    base, count = settings["base_model_name_or_path"], settings["num_virtual_tokens"]
    is_prefix = settings["peft_type"] == "PREFIX_TUNING"
    kind = "prefix of keys and values" if is_prefix else "soft prompt"
    left_padding = (
        "forward counts the padding as positions unless `position_ids` are passed (`generate` passes them)"
        if is_prefix
        else "PEFT places the prompt before the padding, so the text is further from it than in training"
    )
    lines = [
        "---",
        f"base_model: {json.dumps(base, ensure_ascii=False)}",
        "library_name: peft",
        "pipeline_tag: text-generation",
        "---",
        f"# A {kind} of {count} virtual tokens",
        "",
        f"For `{base}`, tuned and exported by Tuning Fork.",
        "",
        "## How to feed rows",
        "",
        "- The virtual tokens replace the BOS token, the chat header and the instruction. The text follows",
        "  directly, without a BOS token: tokenize with `add_special_tokens=False`.",
        "- Single rows and right-padded batches give the same logits as in Tuning Fork.",
        f"- Left-padded batches differ: {left_padding}.",
        "  Tuning Fork gives every row the positions it has alone.",
        "",
        "```python",
        "from peft import PeftModel",
        "from transformers import AutoModelForCausalLM",
        "",
        f"base = AutoModelForCausalLM.from_pretrained({json.dumps(base)})",
        'model = PeftModel.from_pretrained(base, "path/to/this/folder")',
        "```",
    ]
    if notes:
        lines += ["", "## Notes", ""]
        lines += [f"- {name}: {json.dumps(value, ensure_ascii=False)}" for name, value in notes.items()]
    return "\n".join(lines) + "\n"
