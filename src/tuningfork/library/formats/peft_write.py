"""Soft prompts into the folders of Hugging Face's PEFT 0.21, written without PEFT itself.

A folder of a prompt at the input holds `prompt_embeddings` (P, H), or (2P, H) if an encoder and a decoder are
given P each. One of keys and values holds the same of (P, L * 2 * A * D), where keys of stored layer l come
at index 2l and values at 2l + 1.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import PretrainedConfig

from tuningfork.atomic import replacing, write_text
from tuningfork.errors import FormatError
from tuningfork.library.formats.base_shapes import KeyValueShape, embedding_width, key_value_shape
from tuningfork.library.formats.peft_config import (
    AT_INPUT,
    CONTEXT,
    KEY_VALUE,
    MULTITASK,
    SETTINGS,
    WEIGHTS,
    input_settings,
    key_value_settings,
    written_settings,
)
from tuningfork.library.formats.peft_content import content_of
from tuningfork.library.formats.peft_layers import given_layers, num_written_layers
from tuningfork.library.formats.peft_read import BASE_WEIGHTS, COLUMNS, PROMPT, ROWS
from tuningfork.library.formats.peft_readme import readme
from tuningfork.models.artefacts import HeadedPrefix, InputPrompt, KeyValuePrefix, SoftPrompt
from tuningfork.models.classification_head import ClassificationHead
from tuningfork.models.parts import ContextTokens, FrozenTokens, PromptParts, TaskProduct


def export_peft(
    artefact: SoftPrompt,
    folder: Path,
    *,
    config: PretrainedConfig,
    base_model_name: str,
    notes: Mapping[str, str],
    peft_type: str | None = None,
    parts: PromptParts | None = None,
) -> Path:
    """Write `artefact` as a PEFT adapter into `folder` and return `folder`.

    An adapter already in the folder is replaced; the settings are written last, so an unfinished folder is
    never taken for an adapter.

    Args:
        artefact: the soft prompt.
        folder: created where missing.
        config: of the base model.
        base_model_name: a Hugging Face name or a folder, from which PEFT loads the base model.
        notes: what else the reader of the README should know, such as task, template and score. The hash
            called `base_weights_sha256` stands with the tensors, too, for whoever reads them.
        peft_type: PROMPT_TUNING, P_TUNING, MULTITASK_PROMPT_TUNING or CPT for an `InputPrompt`, PREFIX_TUNING
            or CARTRIDGE for a prefix; None takes the first, which need nothing else. Virtual tokens of both
            sides of an encoder-decoder are held by MULTITASK_PROMPT_TUNING alone.
        parts: what the prompt was made of, where `peft_type` keeps that apart.

    Raises:
        FormatError: If the prompt does not fit the model or the format, PEFT itself cannot run it, or a value
            is not finite.
    """
    content = content_of(artefact, config)
    kind = content.checked_type(peft_type)
    held = content.prompt
    if isinstance(held, InputPrompt):
        tensors, settings = _at_input(held, kind, config, parts)
    else:
        tensors, settings = _keys_and_values(held, kind, config, parts)
    stored = _finite(folder, tensors)
    # PEFT hands keys and values on as those of a decoder with an encoder if it counts both.
    is_behind_encoder = content.architecture == "encoder-decoder" and kind in KEY_VALUE
    settings |= written_settings(
        kind,
        content.num_virtual_tokens,
        base_model_name,
        has_head=isinstance(held, HeadedPrefix),
        architecture=content.architecture,
        num_submodules=2 if is_behind_encoder else content.num_sides,
    )
    metadata = {"format": "pt"} | ({BASE_WEIGHTS: notes[BASE_WEIGHTS]} if notes.get(BASE_WEIGHTS) else {})
    (folder / SETTINGS).unlink(missing_ok=True)
    with replacing(folder / WEIGHTS) as temporary:
        save_file(stored, temporary, metadata=metadata)
    write_text(folder / "README.md", readme(settings, notes))
    write_text(folder / SETTINGS, json.dumps(settings, indent=2, sort_keys=True))
    return folder


def _finite(folder: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies in float32, as they are stored."""
    stored = {
        name: tensor.detach().to("cpu", torch.float32, copy=True).contiguous()
        for name, tensor in tensors.items()
    }
    for name, tensor in stored.items():
        if not tensor.isfinite().all():
            raise FormatError(f"{folder}: tensor {name} holds values that are not finite")
    return stored


def _at_input(
    artefact: InputPrompt, kind: str, config: PretrainedConfig, parts: PromptParts | None
) -> tuple[dict[str, Tensor], dict[str, object]]:
    width = embedding_width(config)
    if artefact.embeddings.shape[1] != width:
        raise FormatError(
            f"the soft prompt is {artefact.embeddings.shape[1]} wide, the embeddings of "
            f"{config.model_type} are {width}"
        )
    if kind == MULTITASK:
        product = _factors(artefact, parts)
        tensors = {
            PROMPT: product.shared,
            COLUMNS: product.by_token[None],
            ROWS: product.by_feature[None],
        }
        return tensors, input_settings(kind, config, width, None) | {"num_ranks": product.by_token.shape[1]}
    context = parts if kind == CONTEXT and isinstance(parts, ContextTokens) else None
    if kind == CONTEXT and (context is None or len(context.ids) != artefact.num_virtual_tokens):
        raise FormatError(
            f"PEFT's {CONTEXT} names the token that each virtual token started from, and this run has kept "
            f"none; leave out --peft-type to export it as {AT_INPUT[0]}, which gives the same logits"
        )
    return {PROMPT: artefact.embeddings}, input_settings(kind, config, width, context)


def _factors(artefact: InputPrompt, parts: PromptParts | None) -> TaskProduct:
    """The prompt as one task of a multitask prompt: its factors, or such as multiply out to it exactly."""
    if isinstance(parts, TaskProduct) and torch.equal(parts.product, artefact.embeddings):
        return parts
    rows, width = artefact.embeddings.shape
    return TaskProduct(artefact.embeddings, torch.ones(rows, 1), torch.ones(1, width))


def _keys_and_values(
    artefact: KeyValuePrefix | HeadedPrefix, kind: str, config: PretrainedConfig, parts: PromptParts | None
) -> tuple[dict[str, Tensor], dict[str, object]]:
    shape = key_value_shape(config)
    prefix = artefact.prefix if isinstance(artefact, HeadedPrefix) else artefact
    stored = replace(shape, num_layers=num_written_layers(shape.num_layers, config))
    layers = _layers(prefix, shape)
    written = torch.zeros(stored.num_layers, *layers.shape[1:])
    written[list(given_layers(shape.num_layers, stored.num_layers, config))] = layers
    tensors = {PROMPT: written.permute(3, 0, 1, 2, 4).reshape(prefix.num_virtual_tokens, stored.width)}
    if isinstance(artefact, HeadedPrefix):
        tensors["base_model.score.weight"] = _without_bias(artefact.head)
    num_frozen = parts.count if isinstance(parts, FrozenTokens) else 0
    return tensors, key_value_settings(kind, stored, num_frozen)


def _without_bias(head: ClassificationHead) -> Tensor:
    """The weight (C, H) of `head`; a bias that is the same for all labels tells none apart."""
    if (head.bias != head.bias[0]).any():
        raise FormatError(
            "the head of this prompt has a bias, and those of causal models in transformers (`score`), which "
            "PEFT saves, have none; tune a prompt that says its labels (--method) to export it"
        )
    return head.weight


def _layers(prefix: KeyValuePrefix, shape: KeyValueShape) -> Tensor:
    """Return keys and values of all layers, (L, 2, A, P, D)."""
    if prefix.position != 0:
        raise FormatError(f"PEFT's prefixes stand at position 0, this one at {prefix.position}")
    if len(prefix.layers) != shape.num_layers:
        raise FormatError(f"the prefix has {len(prefix.layers)} layers, the model {shape.num_layers}")
    layers = []
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
        layers.append(torch.stack([tensor.detach().float().cpu() for tensor in pair]))
    return torch.stack(layers)
