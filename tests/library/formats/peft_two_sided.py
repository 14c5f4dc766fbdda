"""Encoder-decoders and their prompts as PEFT runs them, and as we do."""

from collections.abc import Sequence
from copy import deepcopy
from functools import cache
from typing import Any

import peft
import torch
from torch import Tensor
from transformers import PreTrainedModel

from tests.encoder_decoder_reference import STARTS
from tests.tiny_models import EOS, PAD, build_network, build_tokenizer, random_ids
from tuningfork.models.artefacts import SoftPrompt
from tuningfork.models.frozen import FrozenModel

TASK_TYPE = "SEQ_2_SEQ_LM"
ROWS = [random_ids(length, seed=length) for length in (7, 3, 5)]
ANSWERS = [random_ids(length, seed=40 + length) for length in (3, 4, 2)]


def two_sided_network(name: str, encoder: int = 2, decoder: int = 2) -> PreTrainedModel:
    """A new tiny network of `name` with so many layers in its two parts."""
    return deepcopy(_original(name, encoder, decoder))


@cache
def _original(name: str, encoder: int, decoder: int) -> PreTrainedModel:
    names = ("num_layers", "num_decoder_layers") if "t5" in name else ("encoder_layers", "decoder_layers")
    return build_network(name, **dict(zip(names, (encoder, decoder), strict=True)))


@cache
def two_sided_model(name: str, encoder: int = 2, decoder: int = 2) -> FrozenModel:
    """The frozen model of that network."""
    return FrozenModel(two_sided_network(name, encoder, decoder), build_tokenizer(None), name=f"tiny-{name}")


@torch.no_grad()
def our_answers(model: FrozenModel, prompt: SoftPrompt | None) -> list[Tensor]:
    """Logits (1 + T, V) after the start and each token of the answers, for all rows in one batch."""
    rows = [[*row, *answer] for row, answer in zip(ROWS, ANSWERS, strict=True)]
    at = [range(len(row) - 1, len(row) + len(answer)) for row, answer in zip(ROWS, ANSWERS, strict=True)]
    found = model.logits(rows, model.prefix([prompt] if prompt else []), at)
    return list(torch.split(found, [len(places) for places in at]))


@torch.no_grad()
def their_answers(
    model: peft.PeftModel, which: Sequence[int], *, gives_labels: bool = False, **arguments: Tensor
) -> list[Tensor]:
    """The same of some rows in a right-padded batch by PEFT, which is given labels or what is said before."""
    config: Any = model.config
    answers = [[STARTS[config.model_type], *ANSWERS[index]] for index in which]
    ids, mask = _padded([ROWS[index] for index in which], PAD)
    if gives_labels:
        # The last label is never given to the decoder.
        given = {"labels": _padded([[*answer[1:], EOS] for answer in answers], -100)[0]}
    else:
        given = {"decoder_input_ids": _padded(answers, PAD)[0]}
    logits = model(input_ids=ids, attention_mask=mask, **given, **arguments).logits
    longest = max(map(len, answers))
    return [logits[at, -longest:][: len(answer)] for at, answer in enumerate(answers)]


def _padded(rows: Sequence[Sequence[int]], filler: int) -> tuple[Tensor, Tensor]:
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[filler] * (longest - len(row))] for row in rows])
    return ids, torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
