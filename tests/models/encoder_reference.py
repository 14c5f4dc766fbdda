"""Truth for encoders: the network's own forward over one unpadded row, with none of the project's code."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tests.tiny_models import CLS, MASK, PAD, SEP, random_ids
from tests.unpadded_reference import embed

CHOICES = [[11], [12, 23], [60], [11, 23, 40], [13, 50]]
Pairs = Sequence[tuple[Tensor, Tensor]]


def words(count: int, seed: int) -> list[int]:
    """Ordinary tokens, none of them the mask."""
    return [token for token in random_ids(2 * count + 2, seed=seed) if token != MASK][:count]


ROWS = [
    [CLS, *words(9, 1), MASK, SEP],
    [CLS, MASK, SEP],
    [CLS, *words(3, 3), MASK, *words(2, 4), SEP],
    [*words(4, 5), MASK, SEP],
]


def row_outputs(network: PreTrainedModel, embedded: Tensor, pairs: Pairs = ()) -> tuple[Tensor, Tensor]:
    """Logits (T, V) and last hidden states (T, H) of one row (T, H), behind keys and values by layer."""
    arguments: dict[str, Tensor] = {}
    if pairs:
        start = pairs[0][0].shape[1] + (PAD + 1 if network.config.model_type == "roberta" else 0)
        arguments["position_ids"] = torch.arange(start, start + len(embedded))[None]
    with _attending_to(network, pairs):
        output = network(inputs_embeds=embedded[None], output_hidden_states=True, **arguments)
    return cast(Tensor, output.logits[0]), cast(Tensor, output.hidden_states[-1][0])


@contextmanager
def _attending_to(network: PreTrainedModel, pairs: Pairs) -> Iterator[None]:
    """Have the self-attention of each layer of one row see keys and values (A, P, D) beside its own."""
    if not pairs:
        yield
        return
    attentions = [
        module
        for module in cast(nn.Module, network).modules()
        if {"query", "key", "value"} <= set(dict(module.named_children()))
    ]
    assert len(attentions) == len(pairs)
    for attention, (keys, values) in zip(attentions, pairs, strict=True):
        attention.forward = _by_hand(attention, keys, values)
    yield
    for attention in attentions:
        del attention.forward


def _by_hand(attention: Any, keys: Tensor, values: Tensor) -> Any:
    def forward(hidden_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, None]:
        count = keys.shape[0]
        query, key, value = (
            torch.stack(part(hidden_states)[0].chunk(count, dim=-1))
            for part in (attention.query, attention.key, attention.value)
        )
        made = []
        for head in range(count):
            seen = torch.cat([keys[head], key[head]])
            weights = (query[head] @ seen.T / query.shape[-1] ** 0.5).softmax(dim=-1)
            made.append(weights @ torch.cat([values[head], value[head]]))
        return torch.cat(made, dim=-1)[None], None

    return forward


def expected_scores(
    network: PreTrainedModel,
    prompt: Tensor,
    rows: Sequence[Sequence[int]] = ROWS,
    *,
    choices: Sequence[Sequence[int]] = CHOICES,
    pairs: Pairs = (),
) -> Tensor:
    """Log-probabilities (B, C) of choices at the masks of each row behind an embedded prompt (P, H)."""
    found = []
    for row in rows:
        place = list(row).index(MASK)
        for choice in choices:
            masked = [*row[:place], *[MASK] * len(choice), *row[place + 1 :]]
            logits, _ = row_outputs(network, torch.cat([prompt, embed(network, masked)]), pairs)
            said = logits[len(prompt) + place :].log_softmax(dim=-1)
            found.append(sum((said[step, token] for step, token in enumerate(choice)), torch.zeros(())))
    return torch.stack(found).view(len(rows), len(choices))
