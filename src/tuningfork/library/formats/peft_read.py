"""Soft prompts out of the folders of Hugging Face's PEFT 0.21, read without PEFT itself."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from transformers import PretrainedConfig

from tuningfork.errors import FormatError
from tuningfork.library.formats.base_shapes import (
    check_embedding_width,
    embedding_width,
    key_value_shape,
)
from tuningfork.library.formats.imported import Imported
from tuningfork.library.formats.peft_config import (
    BINARY_WEIGHTS,
    CARTRIDGE,
    CONTEXT,
    KEY_VALUE,
    MULTITASK,
    WEIGHTS,
    AdapterSettings,
    read_settings,
)
from tuningfork.library.formats.peft_layers import check_num_stored, given_layers
from tuningfork.library.formats.peft_tasks import check_task
from tuningfork.library.formats.sides import prompt_of_sides
from tuningfork.library.formats.tensor_files import (
    check_matrix,
    check_names,
    inside,
    read_safetensors,
    read_torch,
    shown,
    usable,
)
from tuningfork.models.artefacts import (
    EncoderDecoderPrompt,
    HeadedPrefix,
    InputPrompt,
    KeyValuePrefix,
)
from tuningfork.models.classification_head import ClassificationHead
from tuningfork.models.parts import FrozenTokens, TaskProduct

PROMPT, COLUMNS, ROWS = "prompt_embeddings", "prefix_task_cols", "prefix_task_rows"
HEADS = ("score", "classifier")
"""What the layer that tells labels apart is called, by model."""
BASE_WEIGHTS = "base_weights_sha256"
"""Metadata of the tensors that Tuning Fork adds: which base the prompt is for, whatever its name."""


def import_peft(folder: Path, *, config: PretrainedConfig, task_index: int | None = None) -> Imported:
    """Return the soft prompt of a PEFT folder.

    Reads PROMPT_TUNING, P_TUNING, CPT and MULTITASK_PROMPT_TUNING (as `InputPrompt`), PREFIX_TUNING and
    CARTRIDGE (as `KeyValuePrefix`, or with the head of SEQ_CLS as `HeadedPrefix`) of causal models, and those
    without a head of encoder-decoders and encoders, as far as PEFT runs them. Virtual tokens of an
    encoder-decoder are its encoder's; where PEFT gives its decoder some, too, with MULTITASK_PROMPT_TUNING,
    the prompt is an `EncoderDecoderPrompt`. Keys and values stand in front of the decoder, and each layer has
    those that PEFT hands it. Nothing that the settings name,
    such as a tokenizer or a file of initial weights, is opened. `adapter_model.bin` is read only where there
    is no safetensors file and only as plain tensors.

    Args:
        folder: holds `adapter_config.json` and the weights.
        config: of the base model that the prompt is to run on.
        task_index: which prompt of a MULTITASK_PROMPT_TUNING folder; may be left out where it holds one.

    Raises:
        FormatError: If the folder is no such adapter, is incomplete or broken, leads to files elsewhere, or
            does not fit the model.
    """
    settings = read_settings(folder)
    check_task(settings, config)
    if task_index is not None and settings.peft_type != MULTITASK:
        raise FormatError(f"{folder}: {settings.peft_type} holds one prompt; leave out the task index")
    tensors, metadata = _read_tensors(settings)
    prompt = _prompt_tensor(settings, tensors)
    origin = settings.origin
    if base := metadata.get(BASE_WEIGHTS):
        origin[BASE_WEIGHTS] = base
    if settings.peft_type in KEY_VALUE:
        return _imported_prefix(settings, prompt, _head(settings, tensors, config), config, origin)
    if settings.has_head:
        raise FormatError(
            f"{folder}: {settings.peft_type} with a head of SEQ_CLS cannot be read; a head stands here "
            f"behind keys and values only ({', '.join(KEY_VALUE)})"
        )
    check_embedding_width(folder, prompt.shape[1], config)
    if settings.peft_type == MULTITASK:
        product, index = _task_product(settings, prompt, tensors, task_index)
        return Imported(_at_input(settings, product.product), {**origin, "task_index": str(index)}, product)
    context = settings.context_tokens if settings.peft_type == CONTEXT else None
    return Imported(_at_input(settings, prompt), origin, context)


def _at_input(settings: AdapterSettings, rows: Tensor) -> InputPrompt | EncoderDecoderPrompt:
    """The prompt that PEFT makes of `rows`.

    Those for a decoder, the second half, it reads of MULTITASK_PROMPT_TUNING alone.
    """
    count = settings.num_virtual_tokens
    if settings.num_submodules == 1 or settings.peft_type != MULTITASK:
        return InputPrompt(rows[:count].clone())
    return prompt_of_sides(rows[:count].clone(), rows[count:].clone())


def _imported_prefix(
    settings: AdapterSettings,
    prompt: Tensor,
    head: ClassificationHead | None,
    config: PretrainedConfig,
    origin: Mapping[str, str],
) -> Imported:
    prefix = _unflatten(settings, prompt, config)
    parts = FrozenTokens(settings.num_frozen_tokens) if settings.peft_type == CARTRIDGE else None
    return Imported(prefix if head is None else HeadedPrefix(prefix, head), origin, parts)


def _unflatten(settings: AdapterSettings, prompt: Tensor, config: PretrainedConfig) -> KeyValuePrefix:
    shape = key_value_shape(config)
    num_stored = check_num_stored(settings.folder, settings.values.get("num_layers"), shape, config)
    expected = {"num_attention_heads": shape.num_heads, "token_dim": shape.num_heads * shape.head_size}
    for name, value in expected.items():
        if (found := settings.values.get(name)) != value:
            raise FormatError(
                f"{settings.folder}: {name} is {shown(found)}, the model has {value} (counting key-value "
                "heads); it was made for another base model"
            )
    stored = replace(shape, num_layers=num_stored)
    if prompt.shape[1] != stored.width:
        raise FormatError(f"{settings.folder}: {PROMPT} is {prompt.shape[1]} wide, expected {stored.width}")
    parts = prompt.view(-1, 2 * num_stored, shape.num_heads, shape.head_size).permute(1, 2, 0, 3)
    return KeyValuePrefix(
        tuple(
            (parts[2 * layer].clone(), parts[2 * layer + 1].clone())
            for layer in given_layers(shape.num_layers, num_stored, config)
        )
    )


def _task_product(
    settings: AdapterSettings, prompt: Tensor, tensors: Mapping[str, Tensor], task_index: int | None
) -> tuple[TaskProduct, int]:
    """Return the parts of one task's prompt, and its number."""
    folder = settings.folder
    columns, rows = tensors.get(COLUMNS), tensors.get(ROWS)
    if columns is None or rows is None:
        raise FormatError(f"{folder}: tensor {COLUMNS} or {ROWS} is missing")
    num_tasks, rank = (*columns.shape, 0)[0], (*columns.shape, 0, 0)[2]
    expected = ((num_tasks, prompt.shape[0], rank), (num_tasks, rank, prompt.shape[1]))
    if (tuple(columns.shape), tuple(rows.shape)) != expected or 0 in columns.shape:
        raise FormatError(
            f"{folder}: {COLUMNS} {tuple(columns.shape)} and {ROWS} {tuple(rows.shape)} "
            f"do not fit a prompt of {tuple(prompt.shape)}"
        )
    held = "task 0" if num_tasks == 1 else f"tasks 0 to {num_tasks - 1}"
    if task_index is None and num_tasks > 1:
        raise FormatError(f"{folder}: holds the prompts of {held}; choose one with --task-index")
    index = task_index or 0
    if not 0 <= index < num_tasks:
        raise FormatError(f"{folder}: task index {index}, the folder holds {held}")
    product = TaskProduct(prompt, columns[index].clone(), rows[index].clone())
    if not product.product.isfinite().all():
        raise FormatError(f"{folder}: the prompt of task {index} holds values that are not finite")
    return product, index


def _head(
    settings: AdapterSettings, tensors: Mapping[str, Tensor], config: PretrainedConfig
) -> ClassificationHead | None:
    if not settings.has_head:
        return None
    found = [name for name in HEADS if f"base_model.{name}.weight" in tensors]
    if len(found) != 1:
        raise FormatError(f"{settings.folder}: made for SEQ_CLS, and has no layer that tells labels apart")
    weight = check_matrix(settings.folder, "the head", tensors[f"base_model.{found[0]}.weight"])
    # A head reads the states of the last layer, which are as wide as the embeddings where it can be used.
    if weight.shape[1] != (width := embedding_width(config)):
        raise FormatError(
            f"{settings.folder}: the head reads states {weight.shape[1]} wide, those of {config.model_type} "
            f"are {width}; it was made for another base model"
        )
    bias = tensors.get(f"base_model.{found[0]}.bias", torch.zeros(weight.shape[0]))
    try:
        return ClassificationHead(weight, bias)
    except ValueError as error:
        raise FormatError(f"{settings.folder}: {error}") from error


def _prompt_tensor(settings: AdapterSettings, tensors: Mapping[str, Tensor]) -> Tensor:
    folder = settings.folder
    if (prompt := tensors.get(PROMPT)) is None:
        raise FormatError(f"{folder}: tensor {PROMPT} is missing, found {sorted(tensors)}")
    check_matrix(folder, PROMPT, prompt)
    if prompt.shape[0] != settings.num_rows:
        sides = " for each of two sides" if settings.num_rows > settings.num_virtual_tokens else ""
        raise FormatError(
            f"{folder}: {PROMPT} has {prompt.shape[0]} rows, num_virtual_tokens is "
            f"{settings.num_virtual_tokens}{sides}"
        )
    return prompt


def _read_tensors(settings: AdapterSettings) -> tuple[dict[str, Tensor], dict[str, str]]:
    names = {PROMPT}
    if settings.peft_type == MULTITASK:
        names |= {COLUMNS, ROWS}
    if settings.has_head:
        names |= {f"base_model.{head}.{part}" for head in HEADS for part in ("weight", "bias")}
    path = inside(settings.folder, WEIGHTS)
    if path.is_file():
        return read_safetensors(path, names)
    path = inside(settings.folder, BINARY_WEIGHTS)
    if not path.is_file():
        raise FormatError(f"{settings.folder}: neither {WEIGHTS} nor {BINARY_WEIGHTS} is there")
    content = read_torch(path)
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise FormatError(f"{path}: expected tensors by name, found {type(content).__name__}")
    check_names(path, [str(name) for name in content], names)
    return {str(name): usable(path, str(name), tensor) for name, tensor in content.items()}, {}
