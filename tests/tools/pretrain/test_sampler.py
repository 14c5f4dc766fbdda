from pathlib import Path

import pytest
import torch

from tools.pretrain.config import Config
from tools.pretrain.prepare import Preparation
from tools.pretrain.sampler import Sampler
from tuningfork.errors import DataError


def test_an_epoch_shows_every_sequence_once_and_the_next_another_order(config: Config) -> None:
    sampler = Sampler(config.work / "packed", Preparation(config).names(), 512, seed=0)
    epochs = [
        [row for step in range(sampler.steps_per_epoch) for row in sampler.batch(step + offset).ids.tolist()]
        for offset in (0, sampler.steps_per_epoch)
    ]
    assert sorted(map(tuple, epochs[0])) == sorted(map(tuple, epochs[1]))
    assert epochs[0] != epochs[1]
    assert all(sampler.batch(step).ids.numel() == 512 for step in range(sampler.steps_per_epoch))


def test_a_batch_depends_on_the_step_alone(config: Config) -> None:
    names = Preparation(config).names()
    first, second = (Sampler(config.work / "packed", names, 512, seed=0) for _ in range(2))
    first.batch(first.steps_per_epoch + 1)
    assert torch.equal(first.batch(3).ids, second.batch(3).ids)


def test_missing_shards_and_too_few_tokens_are_refused(config: Config, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="run `prepare` first"):
        Sampler(tmp_path, ["train-128-0000"], 512, seed=0)
    with pytest.raises(DataError, match="fewer than 1048576 tokens"):
        Sampler(config.work / "packed", Preparation(config).names(), 1 << 20, seed=0)
