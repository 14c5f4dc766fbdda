"""Encoders and their prompts as PEFT runs them, and as we do."""

from collections.abc import Sequence
from copy import deepcopy
from functools import cache
from typing import Any, cast

import peft
import torch
from torch import Tensor
from transformers import PreTrainedModel

from tests.tiny_models import CLS, MASK, PAD, SEP, build_encoder, random_ids
from tuningfork.models.artefacts import UnadaptedPrompt
from tuningfork.models.encoder import EncoderPath
from tuningfork.models.encoder_support import probe_encoder

TASK_TYPE = "FEATURE_EXTRACTION"
ROWS = [[CLS, *random_ids(length, seed=length), MASK, SEP] for length in (7, 3, 5)]


def encoder_network(name: str) -> PreTrainedModel:
    """A new tiny network with a masked-LM head, or without one if `name` begins so."""
    return deepcopy(_original(name))


@cache
def _original(name: str) -> PreTrainedModel:
    network = build_encoder(name.removeprefix("bare "))
    return cast(PreTrainedModel, network.base_model) if name.startswith("bare ") else network


@cache
def encoder_path(name: str) -> EncoderPath:
    """Our path of that network, which knows what it can do."""
    network = encoder_network(name)
    path = EncoderPath(network, MASK)
    probe_encoder(network, path)
    return path


@torch.no_grad()
def our_outputs(path: EncoderPath, prompt: UnadaptedPrompt | None) -> list[Tensor]:
    """What is said at some places of each row, (N, V), in one batch: logits, or states of a bare encoder."""
    prefix = path.prefix([prompt] if prompt else [])
    return list(path.outputs(ROWS, [prefix], [_places(row) for row in ROWS]))


@torch.no_grad()
def their_outputs(model: peft.PeftModel, which: Sequence[int], **arguments: Tensor) -> list[Tensor]:
    """The same of some rows in a right-padded batch by PEFT."""
    rows = [ROWS[index] for index in which]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    output: Any = model(input_ids=ids, attention_mask=mask, **arguments)
    said = output.logits if hasattr(output, "logits") else output.last_hidden_state
    return [said[at, -longest:][_places(row)] for at, row in enumerate(rows)]


def _places(row: list[int]) -> list[int]:
    """[CLS], two words, and the mask."""
    return [0, 1, 2, row.index(MASK)]
