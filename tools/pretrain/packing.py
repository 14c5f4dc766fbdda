"""Packed sequences: whole conversations side by side, the rest padding, as arrays that fit a byte and two."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tools.pretrain.rendering import Rendered
from tuningfork.atomic import replacing

WEIGHT_UNIT = 64
"""A weight of 1 is stored as this; the largest is 255 / 64."""
_MOST_OPEN = 64

Tokens = NDArray[np.uint16]
Weights = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Packed:
    """Sequences of one length, (N, T) each."""

    tokens: Tokens
    weights: Weights


def pack(
    conversations: Iterable[Rendered], length: int, padding: int
) -> Iterator[tuple[list[int], list[float]]]:
    """Yield sequences of `length` tokens; best fit, so that no conversation is cut and little is padding.

    A conversation goes where it leaves least room, after Ding et al. 2024, "Fewer Truncations Improve
    Language Modeling", arXiv 2404.10830. The number of open sequences is bounded; beyond it the fullest is
    closed.
    """
    open_: list[tuple[list[int], list[float]]] = []
    for rendered in conversations:
        size = len(rendered.ids)
        if size > length:
            raise ValueError(f"a conversation has {size} tokens, a sequence {length}")
        fitting = [sequence for sequence in open_ if len(sequence[0]) + size <= length]
        if fitting:
            sequence = max(fitting, key=lambda candidate: len(candidate[0]))
        else:
            sequence = ([], [])
            open_.append(sequence)
        sequence[0].extend(rendered.ids)
        sequence[1].extend(rendered.weights)
        if len(sequence[0]) == length or len(open_) > _MOST_OPEN:
            fullest = max(range(len(open_)), key=lambda index: len(open_[index][0]))
            yield _filled(open_.pop(fullest), length, padding)
    open_.sort(key=lambda sequence: -len(sequence[0]))
    for sequence in open_:
        yield _filled(sequence, length, padding)


def stack(sequences: Iterable[tuple[list[int], list[float]]]) -> Packed:
    """Return sequences as arrays, weights in units of 1 / 64."""
    ids, weights = zip(*sequences, strict=True)
    scaled = np.rint(np.asarray(weights, dtype=np.float32) * WEIGHT_UNIT)
    return Packed(np.asarray(ids, dtype=np.uint16), np.clip(scaled, 0, 255).astype(np.uint8))


def tokens_path(folder: Path, name: str) -> Path:
    """Return where the tokens of a shard lie."""
    return folder / f"{name}.tokens.npy"


def weights_path(folder: Path, name: str) -> Path:
    """Return where the weights of a shard lie."""
    return folder / f"{name}.weights.npy"


def save(packed: Packed, folder: Path, name: str) -> None:
    """Write a shard; the tokens come last, so a shard with tokens is whole."""
    for path, array in (
        (weights_path(folder, name), packed.weights),
        (tokens_path(folder, name), packed.tokens),
    ):
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, array, allow_pickle=False)


def open_shard(folder: Path, name: str) -> Packed:
    """Map a shard into memory."""
    return Packed(
        np.load(tokens_path(folder, name), mmap_mode="r", allow_pickle=False),
        np.load(weights_path(folder, name), mmap_mode="r", allow_pickle=False),
    )


def _filled(
    sequence: tuple[list[int], list[float]], length: int, padding: int
) -> tuple[list[int], list[float]]:
    missing = length - len(sequence[0])
    return sequence[0] + [padding] * missing, sequence[1] + [0.0] * missing
