"""Keys and values at another position than the one they were made for, where positions are rotations.

Rotary embeddings (Su et al. 2021, "RoFormer: Enhanced Transformer with Rotary Position Embedding", arXiv
2104.09864, section 3) turn pairs of numbers of each key by angles that grow with the position, so a later
position is one more rotation of the finished key. Families pair numbers, leave some out and scale angles in
many ways. So the rotation is not built from a config but read off the model: a text that is run at position 0
and once more later gives every key twice, and one angle for each pair must explain all of them.
"""

import inspect
from collections.abc import Iterator

import torch
from torch import Tensor

from tuningfork.errors import PromptError
from tuningfork.models.artefacts import KeyValuePrefix
from tuningfork.models.embedding import embed_segment
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.prefix import cache_layers, new_cache

_PROBE_TOKENS = 32
_TOLERANCE = 1e-5
"""Largest difference of a turned key, as a share of the largest key; float32 rounds to about 1e-6."""

Pairs = tuple[Tensor, Tensor]
"""Places (R,) in a key of the first and of the second number of each pair that turns."""


def moved(model: FrozenModel, prefix: KeyValuePrefix, by: int) -> KeyValuePrefix:
    """`prefix` as if its tokens stood `by` positions later; values carry no position and stay.

    Raises:
        PromptError: if the keys of `model` do not turn with their position, or not exactly, or the model does
            not say where its tokens stand.
    """
    if by == 0:
        return prefix
    turns = [_turn(before, after) for before, after in _probed(model, by)]
    if len(turns) != len(prefix.layers):
        raise PromptError(f"the prefix has {len(prefix.layers)} layers, the model has {len(turns)}")
    layers = []
    for pair, turn in zip(prefix.layers, turns, strict=True):
        if turn is None:
            raise PromptError(
                f"the keys of {model.name} ({model.network.config.model_type}) do not just turn with their "
                "position, so a key-value prefix cannot stand behind another prompt; name it first, and only "
                "one"
            )
        layers.append(None if pair is None else (_turned(pair[0], *turn), pair[1]))
    return KeyValuePrefix(tuple(layers), prefix.position)


@torch.no_grad()
def _probed(model: FrozenModel, by: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Keys (A, N, D) of a text by layer, at position 0 and `by` later, in float64 on the CPU."""
    network = model.network
    decoder = network.base_model
    if model.support.path != "shared" or "position_ids" not in inspect.signature(decoder.forward).parameters:
        raise PromptError(
            f"{model.name} is not told where its tokens stand, so a key-value prefix cannot be moved behind "
            "another prompt; name it first, and only one"
        )
    if model.dtype != torch.float32:
        raise PromptError(
            f"keys are moved exactly in float32 only, {model.name} runs in "
            f"{str(model.dtype).removeprefix('torch.')}; add --dtype float32"
        )
    count = min(_PROBE_TOKENS, (model.maximum_length or by + _PROBE_TOKENS) - by)
    if count < 2:
        raise PromptError(f"no text fits {by} positions later; the model's maximum is {model.maximum_length}")
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(model.vocabulary_size, (count,), generator=generator).tolist()
    found = []
    for start in (0, by):
        cache = new_cache()
        positions = torch.arange(start, start + count, device=model.device)[None]
        embeddings = embed_segment(network, ids)[None]
        decoder(inputs_embeds=embeddings, position_ids=positions, past_key_values=cache, use_cache=True)
        found.append([pair[0][0].double().cpu() for pair in cache_layers(cache) if pair is not None])
    yield from zip(*found, strict=True)


def _turn(before: Tensor, after: Tensor) -> tuple[Pairs, Tensor] | None:
    """The pairs and their complex turn (R,) that take keys (A, N, D) `before` to `after`; None if none do."""
    for pairs in _pairings(before.shape[-1]):
        first, second = _as_complex(before, pairs), _as_complex(after, pairs)
        turn = (first.conj() * second).sum(dim=(0, 1))
        turn = turn / turn.abs()
        if (_turned(before, pairs, turn) - after).abs().max() <= _TOLERANCE * after.abs().max():
            return pairs, turn
    return None


def _pairings(size: int) -> Iterator[Pairs]:
    """Which numbers of a key of `size` may turn together: halves of its first ones, or neighbours."""
    for rotary in range(size - size % 2, 0, -2):
        half = torch.arange(rotary // 2)
        yield half, half + rotary // 2
    neighbours = torch.arange(0, size - 1, 2)
    yield neighbours, neighbours + 1


def _as_complex(keys: Tensor, pairs: Pairs) -> Tensor:
    return torch.complex(keys[..., pairs[0]], keys[..., pairs[1]])


def _turned(keys: Tensor, pairs: Pairs, turn: Tensor) -> Tensor:
    """Keys (..., D) with their pairs turned."""
    found = _as_complex(keys.double().cpu(), pairs) * turn
    turned = keys.double().cpu().clone()
    turned[..., pairs[0]], turned[..., pairs[1]] = found.real, found.imag
    return turned.to(keys.device, keys.dtype)
