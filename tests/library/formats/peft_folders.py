"""PEFT folders for tests, written by PEFT or by us, and ways to spoil them."""

import json
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import peft
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel

from tests.tiny_models import build_model, build_network
from tuningfork.library.formats.base_shapes import key_value_shape
from tuningfork.library.formats.peft_write import export_peft
from tuningfork.models.artefacts import InputPrompt, KeyValuePrefix, SoftPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.parts import ContextTokens, FrozenTokens, PromptParts, TaskProduct

P = 4
UNGROUPED = {name: {"num_key_value_heads": 4} for name in ("gpt2", "opt", "bloom")}
KINDS: dict[str, type[SoftPrompt]] = {
    "PROMPT_TUNING": InputPrompt,
    "P_TUNING": InputPrompt,
    "MULTITASK_PROMPT_TUNING": InputPrompt,
    "CPT": InputPrompt,
    "PREFIX_TUNING": KeyValuePrefix,
    "CARTRIDGE": KeyValuePrefix,
}
"""What each of PEFT's types holds."""
CONTEXT = ContextTokens((9, 8, 7, 6), (1,) * P, (1, 2, 3, 4))
_CAUSAL: dict[str, Any] = {"task_type": "CAUSAL_LM", "num_virtual_tokens": P}
PEFT_CONFIGS: dict[str, Callable[..., peft.PeftConfig]] = {
    "PROMPT_TUNING": partial(peft.PromptTuningConfig, **_CAUSAL),
    "P_TUNING": partial(peft.PromptEncoderConfig, **_CAUSAL, encoder_hidden_size=16),
    "CPT": partial(
        peft.CPTConfig,
        task_type="CAUSAL_LM",
        cpt_token_ids=[9, 8, 7, 6],
        cpt_mask=[1] * P,
        cpt_tokens_type_mask=[1, 2, 3, 4],
    ),
    "MULTITASK_PROMPT_TUNING": partial(peft.MultitaskPromptTuningConfig, **_CAUSAL, num_tasks=3, num_ranks=2),
    "PREFIX_TUNING": partial(peft.PrefixTuningConfig, **_CAUSAL),
    "projected PREFIX_TUNING": partial(
        peft.PrefixTuningConfig, **_CAUSAL, prefix_projection=True, encoder_hidden_size=16
    ),
    "CARTRIDGE": partial(peft.CartridgeConfig, **_CAUSAL, num_frozen_tokens=1),
}
"""Of causal models, unless called with another `task_type`."""


def adapted(network: PreTrainedModel, peft_name: str, **changes: Any) -> peft.PeftModel:
    """`network` with a new prompt by PEFT, no part of which is empty."""
    torch.manual_seed(2)
    model = peft.get_peft_model(network, PEFT_CONFIGS[peft_name](**changes))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # At first the one is zero, and the others hardly differ from it.
            if "delta_embedding" in name or "prefix_task_" in name:
                parameter.normal_()
    return model.eval()


def save_with_peft(name: str, peft_name: str, folder: Path, **arguments: Any) -> None:
    adapted(network_of(name), peft_name).save_pretrained(str(folder), **arguments)


def network_of(name: str, **overrides: Any) -> PreTrainedModel:
    """A new tiny network, without grouped heads where the architecture has none: PEFT believes the config."""
    return build_network(name, **{**UNGROUPED.get(name, {}), **overrides})


@cache
def model_of(name: str) -> FrozenModel:
    return build_model(name, **UNGROUPED.get(name, {}))


def config_of(name: str, **overrides: Any) -> PretrainedConfig:
    return (network_of(name, **overrides) if overrides else model_of(name).network).config


def prompt_for(name: str, kind: type[SoftPrompt], num_virtual_tokens: int = P) -> SoftPrompt:
    """A random prompt; its vectors spread like trained ones, far more than the embeddings."""
    generator = torch.Generator().manual_seed(3)
    if kind is InputPrompt:
        return InputPrompt(torch.randn(num_virtual_tokens, 32, generator=generator))
    shape = key_value_shape(config_of(name))
    pair = (2, shape.num_heads, num_virtual_tokens, shape.head_size)
    return KeyValuePrefix(
        tuple(tuple(torch.randn(pair, generator=generator)) for _ in range(shape.num_layers))
    )


def parts_for(peft_type: str) -> PromptParts | None:
    """What a prompt of `P` virtual tokens was made of, where the type keeps that apart."""
    generator = torch.Generator().manual_seed(4)
    if peft_type == "MULTITASK_PROMPT_TUNING":
        shapes = ((P, 32), (P, 2), (2, 32))
        return TaskProduct(*(torch.randn(shape, generator=generator) for shape in shapes))
    if peft_type == "CPT":
        return CONTEXT
    return FrozenTokens(1) if peft_type == "CARTRIDGE" else None


def export(
    folder: Path,
    artefact: SoftPrompt,
    name: str = "llama",
    *,
    peft_type: str | None = None,
    parts: PromptParts | None = None,
    **notes: str,
) -> Path:
    return export_peft(
        artefact,
        folder,
        config=config_of(name),
        base_model_name="some/base",
        notes=notes,
        peft_type=peft_type,
        parts=parts,
    )


def arguments_for(peft_type: str, num_rows: int, task: int) -> dict[str, Tensor]:
    """What a call needs besides rows."""
    return {"task_ids": torch.tensor([task] * num_rows)} if "MULTITASK" in peft_type else {}


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_tensors(folder: Path, **changes: Tensor | None) -> None:
    path = folder / "adapter_model.safetensors"
    tensors = {**load_file(path), **changes}
    save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, path)
