"""Logits of rows by our model, by PEFT and by transformers alone, to be compared."""

from typing import Any

import peft
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from tests.library.formats.peft_folders import model_of
from tests.tiny_models import PAD, random_ids
from tuningfork.models.artefacts import InputPrompt, KeyValuePrefix, SoftPrompt

ROWS = [random_ids(length, seed=length) for length in (7, 3, 5)]


def our_logits(name: str, artefact: SoftPrompt, rows: list[list[int]]) -> list[Tensor]:
    model = model_of(name)
    assert model.support.path == "shared"
    found = model.logits(rows, model.prefix([artefact]), [range(len(row)) for row in rows])
    return list(torch.split(found, [len(row) for row in rows]))


@torch.no_grad()
def plain_logits(network: PreTrainedModel, artefact: SoftPrompt, ids: list[int], shift: int = 0) -> Tensor:
    """One unpadded row by transformers alone; `shift` plants a wrong position of the text."""
    text = network.get_input_embeddings()(torch.tensor([ids]))
    past = artefact.num_virtual_tokens
    positions = torch.arange(past, past + len(ids))[None] + shift
    logits: Tensor
    if isinstance(artefact, InputPrompt):
        embeddings = torch.cat([artefact.embeddings[None], text], dim=1)
        positions = torch.cat([torch.arange(past)[None], positions], dim=1)
        logits = network(inputs_embeds=embeddings, position_ids=positions).logits[0, past:]
        return logits
    assert isinstance(artefact, KeyValuePrefix)
    cache = DynamicCache([(pair[0][None], pair[1][None]) for pair in artefact.layers if pair is not None])
    logits = network(inputs_embeds=text, position_ids=positions, past_key_values=cache).logits[0]
    return logits


@torch.no_grad()
def peft_logits(model: peft.PeftModel, rows: list[list[int]], **arguments: Any) -> list[Tensor]:
    """Real positions of a right-padded batch by PEFT."""
    longest = max(map(len, rows))
    ids = torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    logits = model(input_ids=ids, attention_mask=mask, **arguments).logits[:, -longest:]
    return [logits[index, : len(row)] for index, row in enumerate(rows)]


def largest_gap(ours: list[Tensor], theirs: list[Tensor]) -> float:
    assert [tuple(one.shape) for one in ours] == [tuple(other.shape) for other in theirs]
    return max(float((one - other).abs().max()) for one, other in zip(ours, theirs, strict=True))
