"""Truth: the network's own forward over one unpadded row, with none of the project's code.

Every batched path is compared with it, over prompts given as tokens, as an `InputPrompt` and as a
`KeyValuePrefix`.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel

from tests.tiny_models import BOS, random_ids
from tuningfork.models.artefacts import DecomposedPrompt, InputPrompt, InstancePrompt, KeyValuePrefix
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.path import Segment

PROMPT_KINDS = ("tokens", "input", "key_value")
ROWS = [random_ids(length, seed=length) for length in (9, 1, 17, 3)]
CHOICES = [[11], [11, 23], [11, 23, 40, 41], [11, 50], [60, 23, 61]]
LogitsOf = Callable[[Sequence[int], int], Tensor]
"""Logits (T, V) of one unpadded row, and where in it the answer starts."""
EVERYWHERE = [range(len(row)) for row in ROWS]


@dataclass(frozen=True)
class Prompt:
    """The same prompt twice: as segments for `FrozenModel.prefix`, and embedded (P, H) for the reference."""

    segments: list[Segment]
    embedded: Tensor


def embed(network: PreTrainedModel, ids: Sequence[int]) -> Tensor:
    return cast(Tensor, network.get_input_embeddings()(torch.tensor(list(ids), dtype=torch.long)))


def random_embeddings(network: PreTrainedModel, count: int, seed: int) -> Tensor:
    """Virtual tokens (P, H) as large as the network's own embeddings."""
    own = embed(network, random_ids(40, seed=1))
    return torch.randn(count, own.shape[1], generator=torch.Generator().manual_seed(seed)) * own.std()


def make_prompt(model: FrozenModel, kind: str, length: int) -> Prompt:
    """A prompt of `length` tokens, with a beginning-of-sequence token in front."""
    network = model.network
    ids = [BOS, *random_ids(length - 1, seed=31)]
    if kind == "tokens":
        return Prompt([ids], embed(network, ids))
    if kind == "input":
        virtual = random_embeddings(network, length - 2, seed=3)
        last = ids[-1:]
        embedded = torch.cat([embed(network, [BOS]), virtual, embed(network, last)])
        return Prompt([[BOS], InputPrompt(virtual), last], embedded)
    front, rest = ids[:-1], ids[-1:]
    return Prompt([text_key_values(model, front), rest], embed(network, ids))


@torch.no_grad()
def text_key_values(model: FrozenModel, ids: Sequence[int]) -> KeyValuePrefix:
    """The keys and values that a text leaves behind."""
    layers = model.prefix([list(ids)]).layers
    return KeyValuePrefix(tuple(None if pair is None else (pair[0][0], pair[1][0]) for pair in layers))


def row_logits(network: PreTrainedModel, prompt: Tensor, row: Sequence[int]) -> Tensor:
    """Logits (T, V) of one row behind an embedded prompt (P, H)."""
    embeddings = torch.cat([prompt, embed(network, row)])[None]
    logits = network(inputs_embeds=embeddings, use_cache=False).logits
    return cast(Tensor, logits[0, prompt.shape[0] :])


def row_logits_after(
    network: PreTrainedModel, layers: Sequence[tuple[Tensor, Tensor] | None], row: Sequence[int]
) -> Tensor:
    """Logits (T, V) of one row behind keys and values (A, P, D) per layer, or None where it has none."""
    if None in layers:
        return _row_logits_by_layer(network, layers, row)
    return cast(
        Tensor, network(input_ids=torch.tensor([list(row)]), past_key_values=_filled(layers)).logits[0]
    )


def _filled(layers: Sequence[tuple[Tensor, Tensor] | None]) -> DynamicCache:
    present = next(pair for pair in layers if pair is not None)
    cache = DynamicCache()
    for index, pair in enumerate(layers):
        keys, values = pair or map(torch.zeros_like, present)
        cache.update(keys[None], values[None], index)
    return cache


def layers_of(network: PreTrainedModel) -> nn.ModuleList:
    """The layers of a tiny network, where its family keeps them."""
    base: Any = network.base_model
    base = getattr(base, "decoder", base)
    return cast(nn.ModuleList, base.h if hasattr(base, "h") else base.layers)


def positions_from(network: PreTrainedModel, start: int, count: int) -> dict[str, Tensor]:
    """Arguments that place tokens at `start` and after it, for networks that are told positions."""
    takes_positions = "position_ids" in inspect.signature(network.base_model.forward).parameters
    return {"position_ids": torch.arange(start, start + count)[None]} if takes_positions else {}


def _row_logits_by_layer(
    network: PreTrainedModel, layers: Sequence[tuple[Tensor, Tensor] | None], row: Sequence[int]
) -> Tensor:
    """The network is run once for each layer, behind the prefix or without it, as that layer needs it.

    Only what this layer makes is kept, and given to the next one in the next run.
    """
    count = next(pair for pair in layers if pair is not None)[0].shape[1]
    arguments = positions_from(network, count, len(row))
    ids, output = torch.tensor([list(row)]), None
    for index, (pair, layer) in enumerate(zip(layers, layers_of(network), strict=True)):
        states = None if output is None else output.hidden_states[index]
        handle = layer.register_forward_pre_hook(_giving(states))
        cache = DynamicCache() if pair is None else _filled(layers)
        output = network(input_ids=ids, past_key_values=cache, output_hidden_states=True, **arguments)
        handle.remove()
    assert output is not None
    return cast(Tensor, output.logits[0])


def _giving(states: Tensor | None) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...]]:
    """A hook that gives a layer `states` in place of its input, or its input where they are None."""
    return lambda _, args: args if states is None else (states, *args[1:])


def last_state_after(
    network: PreTrainedModel, layers: Sequence[tuple[Tensor, Tensor]], row: Sequence[int]
) -> Tensor:
    """What the language-model head is given (H,) for the last token of one row behind keys and values."""
    given: list[Tensor] = []
    head = network.get_output_embeddings()  # type: ignore[no-untyped-call]
    hook = head.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    try:
        row_logits_after(network, layers, row)
    finally:
        hook.remove()
    return given[0][0, -1]


def shifted_row_logits(
    network: PreTrainedModel, prompt: InstancePrompt, row: Sequence[int], start: int
) -> Tensor:
    """Logits (T, V) of one row whose answer begins at `start`, shifted by what its own words say."""
    count = prompt.num_shifted_tokens
    words, text = row[: max(1, start - count)], embed(network, row)
    seen = torch.cat([prompt.front, embed(network, words)])[None]
    states = network(inputs_embeds=seen, use_cache=False, output_hidden_states=True).hidden_states
    features = torch.cat([states[layer][0, len(prompt.front) :].mean(dim=0) for layer in prompt.layers_read])
    made = ((features - prompt.mean) / prompt.scale) @ prompt.down @ prompt.up
    shifts = prompt.shift + made.view(count, -1)
    added = torch.zeros_like(text)
    for step in range(count):
        if start - count + step >= 0:
            added[start - count + step] = shifts[step]
    embeddings = torch.cat([prompt.front, text + added])[None]
    logits = network(inputs_embeds=embeddings, use_cache=False).logits
    return cast(Tensor, logits[0, len(prompt.front) :])


def offset_row_logits(
    network: PreTrainedModel, prompt: DecomposedPrompt, row: Sequence[int], start: int
) -> Tensor:
    """Logits (T, V) of one row whose answer begins at `start`, its tokens before offset one by one."""
    tokens = list(embed(network, row))
    for index in range(min(start, len(prompt.down))):
        tokens[index] = tokens[index] + prompt.down[index] @ prompt.up
    embeddings = torch.cat([prompt.embeddings, torch.stack(tokens)])[None]
    logits = network(inputs_embeds=embeddings, use_cache=False).logits
    return cast(Tensor, logits[0, len(prompt.embeddings) :])


@torch.no_grad()
def expected_logits(network: PreTrainedModel, prompt: Tensor) -> Tensor:
    """Logits (N, V) at every position of `ROWS`."""
    return torch.cat([row_logits(network, prompt, row) for row in ROWS])


@torch.no_grad()
def choice_scores(logits_of: LogitsOf, rows: Sequence[Sequence[int]] = ROWS) -> Tensor:
    """Log-probabilities (B, C) of `CHOICES` after `rows`, each row and choice run on their own."""
    scores = torch.zeros(len(rows), len(CHOICES))
    for b, row in enumerate(rows):
        for c, choice in enumerate(CHOICES):
            after = logits_of([*row, *choice], len(row))[len(row) - 1 : -1].log_softmax(dim=-1)
            scores[b, c] = sum(after[step, token] for step, token in enumerate(choice))
    return scores


@torch.no_grad()
def greedy_answer(logits_of: LogitsOf, row: Sequence[int], count: int) -> list[int]:
    """Greedy continuation of one row, everything computed again for each token."""
    made: list[int] = []
    for _ in range(count):
        made.append(int(logits_of([*row, *made], len(row))[-1].argmax()))
    return made


def expected_scores(network: PreTrainedModel, prompt: Tensor) -> Tensor:
    """`choice_scores` behind an embedded prompt (P, H)."""
    return choice_scores(lambda ids, _: row_logits(network, prompt, ids))


def expected_answer(network: PreTrainedModel, prompt: Tensor, row: Sequence[int], count: int) -> list[int]:
    """`greedy_answer` behind an embedded prompt (P, H)."""
    return greedy_answer(lambda ids, _: row_logits(network, prompt, ids), row, count)


def label_loss(logits: Tensor) -> Tensor:
    """A loss over logits (N, V) at every position of `ROWS`, whose labels stay the same."""
    labels = torch.tensor(random_ids(logits.shape[0], seed=8))
    return torch.nn.functional.cross_entropy(logits, labels, reduction="sum")


def relative_difference(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Norm of the difference of two lists of tensors over the norm of the second."""
    flat_found = torch.cat([tensor.flatten() for tensor in found])
    flat_expected = torch.cat([tensor.flatten() for tensor in expected])
    return float((flat_found - flat_expected).norm() / flat_expected.norm())
