"""Which sequences a step sees: a function of seed and step alone, so resuming needs no state."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tools.pretrain.packing import WEIGHT_UNIT, Packed, open_shard
from tuningfork.errors import DataError


@dataclass(frozen=True, slots=True)
class Batch:
    """Sequences of one length: ids (B, T) int64 and the weight of predicting each (B, T) float32."""

    ids: Tensor
    weights: Tensor


class Sampler:
    """Batches of equally many tokens from shards of several lengths; every sequence once an epoch."""

    def __init__(self, folder: Path, names: Sequence[str], tokens_per_step: int, seed: int) -> None:
        self._shards = [_opened(folder, name) for name in names]
        self._tokens_per_step = tokens_per_step
        self._seed = seed
        self.steps_per_epoch = len(self._epoch(0))
        if not self.steps_per_epoch:
            raise DataError(f"{folder}: fewer than {tokens_per_step} tokens are prepared; run `prepare`")

    def batch(self, step: int) -> Batch:
        """Return the batch of a step, counted from 0."""
        epoch, position = divmod(step, self.steps_per_epoch)
        rows = [(self._shards[shard], row) for shard, row in self._epoch(epoch)[position]]
        return to_batch(
            np.stack([shard.tokens[row] for shard, row in rows]),
            np.stack([shard.weights[row] for shard, row in rows]),
        )

    @lru_cache(maxsize=1)  # noqa: B019 - one sampler lives as long as its process
    def _epoch(self, epoch: int) -> list[list[tuple[int, int]]]:
        random_ = random.Random(f"{self._seed} epoch {epoch}")
        rows: dict[int, list[tuple[int, int]]] = {}
        for index, shard in enumerate(self._shards):
            count, length = shard.tokens.shape
            rows.setdefault(length, []).extend((index, row) for row in range(count))
        batches: list[list[tuple[int, int]]] = []
        for length, found in sorted(rows.items()):
            random_.shuffle(found)
            size = max(1, self._tokens_per_step // length)
            batches += [found[start : start + size] for start in range(0, len(found) - size + 1, size)]
        random_.shuffle(batches)
        return batches


def to_batch(tokens: np.ndarray, weights: np.ndarray) -> Batch:
    """Return packed sequences as tensors."""
    return Batch(
        torch.from_numpy(tokens.astype(np.int64)), torch.from_numpy(weights.astype(np.float32) / WEIGHT_UNIT)
    )


def _opened(folder: Path, name: str) -> Packed:
    try:
        return open_shard(folder, name)
    except FileNotFoundError:
        raise DataError(f"{folder}: the shard {name} is missing; run `prepare` first") from None
