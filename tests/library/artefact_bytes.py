"""Soft prompts and adapters as the bytes of their files."""

from pathlib import Path

import torch
from torch import Tensor

from tuningfork.library.artefact_files import save_artefact
from tuningfork.library.formats.peft_lora import save_lora
from tuningfork.models.artefacts import InputPrompt, KeyValuePrefix, UnadaptedPrompt
from tuningfork.models.low_rank import LowRankUpdate


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def saved(artefact: UnadaptedPrompt, folder: Path) -> bytes:
    path = folder / "saved.safetensors"
    save_artefact(artefact, path, {})
    return path.read_bytes()


def saved_vectors(vectors: Tensor, folder: Path) -> bytes:
    return saved(InputPrompt(vectors), folder)


def prefix(tokens: int, *, seed: int = 0, position: int = 0) -> KeyValuePrefix:
    """Two layers, of which the first keeps nothing, of 2 heads of 3 numbers."""
    return KeyValuePrefix(
        (None, (drawn(2, tokens, 3, seed=seed), drawn(2, tokens, 3, seed=seed + 1))), position
    )


def saved_adapter(update: LowRankUpdate, folder: Path) -> tuple[bytes, bytes]:
    save_lora(update, folder / "adapter", base_model_name="tiny")
    return tuple((folder / "adapter" / name).read_bytes()  # type: ignore[return-value]
                 for name in ("adapter_config.json", "adapter_model.safetensors"))  # fmt: skip
