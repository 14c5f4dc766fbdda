"""`adapter_config.json` of PEFT 0.21's soft prompts: what is read of it, and what is written."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from transformers import PretrainedConfig

from tuningfork.errors import FormatError
from tuningfork.library.formats.base_shapes import KeyValueShape
from tuningfork.library.formats.tensor_files import inside, one_line, shown
from tuningfork.models.architecture import Architecture
from tuningfork.models.parts import ContextTokens

SETTINGS, WEIGHTS, BINARY_WEIGHTS = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
PEFT_VERSION = "0.21.2"
"""The version whose layout is written."""

MULTITASK, CONTEXT, CARTRIDGE = "MULTITASK_PROMPT_TUNING", "CPT", "CARTRIDGE"
AT_INPUT = ("PROMPT_TUNING", "P_TUNING", MULTITASK, CONTEXT)
"""Virtual tokens at the input; what is first is what they are written as."""
KEY_VALUE = ("PREFIX_TUNING", CARTRIDGE)
"""Keys and values in every layer; what is first is what they are written as."""
PEFT_TYPES = (*AT_INPUT, *KEY_VALUE)

HEADED_TASK = "SEQ_CLS"
TASKS: dict[Architecture, str] = {
    "decoder": "CAUSAL_LM",
    "encoder-decoder": "SEQ_2_SEQ_LM",
    "encoder": "FEATURE_EXTRACTION",
}
"""The task type of prompts without a head, by the kind of model they are for."""
_MOST_SETTINGS_BYTES = 1_000_000
_MOST_TOKENS = 1_000_000


@dataclass(frozen=True, slots=True)
class AdapterSettings:
    """What `adapter_config.json` in `folder` says, as far as it was checked."""

    folder: Path
    peft_type: str
    has_head: bool
    """Whether a layer that tells labels apart is saved with the prompt."""
    num_virtual_tokens: int
    num_submodules: int
    """1, or 2 where an encoder and a decoder are given as many virtual tokens each."""
    values: Mapping[str, Any]

    @property
    def num_rows(self) -> int:
        """How many rows its tensor has: at the input, one for each virtual token of each submodule."""
        return self.num_virtual_tokens * (1 if self.peft_type in KEY_VALUE else self.num_submodules)

    @property
    def origin(self) -> dict[str, str]:
        """Type, version and base model, as far as they are known."""
        names = ("peft_type", "peft_version", "base_model_name_or_path")
        return {name: value for name in names if isinstance(value := self.values.get(name), str) and value}

    @property
    def num_frozen_tokens(self) -> int:
        """Rows at the start of a prefix that were not trained.

        Raises:
            FormatError: if there are more of them than rows.
        """
        count = self.values.get("num_frozen_tokens", 1)
        if not _is_count(count) or count > self.num_virtual_tokens:
            raise FormatError(
                f"{self.folder}: num_frozen_tokens is {shown(count)}, expected a number from 0 to "
                f"{self.num_virtual_tokens}"
            )
        return count

    @property
    def context_tokens(self) -> ContextTokens:
        """The tokens that a prompt of type CPT started from.

        Raises:
            FormatError: if there is not one for each virtual token.
        """
        return ContextTokens(
            self._counts("cpt_token_ids"), self._counts("cpt_mask"), self._counts("cpt_tokens_type_mask")
        )

    def _counts(self, name: str) -> tuple[int, ...]:
        found = self.values.get(name)
        if not isinstance(found, list) or not all(_is_count(value) for value in found):
            raise FormatError(f"{self.folder}: {name} is {shown(found)}, expected a list of token numbers")
        if len(found) != self.num_virtual_tokens:
            raise FormatError(
                f"{self.folder}: {name} has {len(found)} entries, num_virtual_tokens is "
                f"{self.num_virtual_tokens}"
            )
        return tuple(found)


def read_settings(folder: Path) -> AdapterSettings:
    """Return the settings of the adapter in `folder`.

    Raises:
        FormatError: if there are none, or they are not those of a soft prompt.
    """
    values = _read(folder)
    peft_type, task_type = values.get("peft_type"), values.get("task_type")
    if peft_type not in PEFT_TYPES:
        raise FormatError(
            f"{folder}: peft_type {shown(peft_type)} is not a soft prompt that can be read; readable are "
            f"{', '.join(PEFT_TYPES)}"
        )
    count = values.get("num_virtual_tokens")
    if not _is_count(count) or not 0 < count <= _MOST_TOKENS:
        raise FormatError(f"{folder}: num_virtual_tokens is {shown(count)}, expected a number above 0")
    submodules = values.get("num_transformer_submodules")
    if submodules is None:
        submodules = 2 if task_type == TASKS["encoder-decoder"] else 1
    if not _is_count(submodules) or submodules not in (1, 2):
        raise FormatError(f"{folder}: num_transformer_submodules is {shown(submodules)}, expected 1 or 2")
    return AdapterSettings(folder, str(peft_type), task_type == HEADED_TASK, count, submodules, values)


def written_settings(
    peft_type: str,
    num_virtual_tokens: int,
    base_model_name: str,
    *,
    has_head: bool,
    architecture: Architecture = "decoder",
    num_submodules: int = 1,
) -> dict[str, Any]:
    """What every type has in its settings, but for the shape of the model."""
    return {
        "auto_mapping": None,
        "base_model_name_or_path": base_model_name,
        "inference_mode": True,
        "modules_to_save": ["classifier", "score"] if has_head else None,
        "num_transformer_submodules": num_submodules,
        "num_virtual_tokens": num_virtual_tokens,
        "peft_type": peft_type,
        "peft_version": PEFT_VERSION,
        "revision": None,
        "task_type": HEADED_TASK if has_head else TASKS[architecture],
    }


def input_settings(
    peft_type: str, config: PretrainedConfig, width: int, context: ContextTokens | None
) -> dict[str, Any]:
    """What a type with virtual tokens `width` wide at the input has besides."""
    # Of an encoder-decoder, PEFT writes the encoder's.
    text = config if config.is_encoder_decoder else config.get_text_config(decoder=True)
    shape = {
        "num_attention_heads": getattr(text, "num_attention_heads", 1),
        "num_layers": text.num_hidden_layers,
        "token_dim": width,
    }
    drawn = {
        "prompt_tuning_init": "RANDOM",
        "prompt_tuning_init_text": None,
        "tokenizer_kwargs": None,
        "tokenizer_name_or_path": None,
    }
    if peft_type == MULTITASK:
        return shape | drawn | _ONE_TASK
    if peft_type == "P_TUNING":
        return shape | {
            "encoder_dropout": 0.0,
            "encoder_hidden_size": width,
            "encoder_num_layers": 2,
            "encoder_reparameterization_type": "MLP",
        }
    if context is None:
        return shape | drawn
    return shape | {
        "cpt_mask": list(context.mask),
        "cpt_token_ids": list(context.ids),
        "cpt_tokens_type_mask": list(context.types),
        **_CONTEXT_LOSS,
    }


_ONE_TASK = {
    "num_tasks": 1,
    "prompt_tuning_init_state_dict_path": None,
    "prompt_tuning_init_task": 0,
}
# Read by training only, which PEFT does not offer for a prompt that was saved.
_CONTEXT_LOSS = {
    "opt_loss_decay_factor": 1.0,
    "opt_projection_epsilon": 0.1,
    "opt_projection_format_epsilon": 0.1,
    "opt_weighted_loss_type": "none",
    "tokenizer_name_or_path": None,
}


def key_value_settings(peft_type: str, shape: KeyValueShape, num_frozen_tokens: int) -> dict[str, Any]:
    """What a type with keys and values in every layer has besides."""
    width = shape.num_heads * shape.head_size
    common = {"num_attention_heads": shape.num_heads, "num_layers": shape.num_layers, "token_dim": width}
    if peft_type == CARTRIDGE:
        return common | {"num_frozen_tokens": num_frozen_tokens}
    return common | {"encoder_hidden_size": width, "init_weights": None, "prefix_projection": False}


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _read(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise FormatError(f"{folder}: no such folder; expected a PEFT adapter")
    path = inside(folder, SETTINGS)
    if not path.is_file():
        nested = sorted(found.parent.name for found in folder.glob(f"*/{SETTINGS}"))
        hint = f"; did you mean its subfolder {nested[0]}?" if nested else "; expected a PEFT adapter"
        raise FormatError(f"{folder}: no {SETTINGS}{hint}")
    try:
        if path.stat().st_size > _MOST_SETTINGS_BYTES:
            raise FormatError(
                f"{path}: larger than {_MOST_SETTINGS_BYTES} bytes; not the settings of a prompt"
            )
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise FormatError(f"{path}: not JSON ({one_line(error)})") from error
    if not isinstance(values, dict):
        raise FormatError(f"{path}: expected a JSON object, found {type(values).__name__}")
    return values
