from pathlib import Path

import pytest
import torch

from tools.pretrain import checkpoint as checkpoints
from tools.pretrain.checkpoint import BYTES_PER_SHARD, Checkpoint
from tools.pretrain.schedule import Decay
from tuningfork.errors import RunError


def test_large_tensors_are_cut_and_come_back(tmp_path: Path) -> None:
    tensors = {"large": torch.randn(5000, 1000), "small": torch.arange(3), "scalar": torch.tensor(2.0)}
    path = checkpoints.save(Checkpoint(7, 11, 1.5, Decay(3, 4), tensors), tmp_path)
    assert all(file.stat().st_size < 16 << 20 for file in path.iterdir())
    assert max(file.stat().st_size for file in path.iterdir()) > BYTES_PER_SHARD // 2
    found = checkpoints.latest(tmp_path)
    assert found is not None
    assert (found.step, found.tokens, found.seconds, found.decay) == (7, 11, 1.5, Decay(3, 4))
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in tensors.items())


def test_only_the_newest_stays_and_a_half_written_one_is_not_seen(tmp_path: Path) -> None:
    for step in (1, 2):
        checkpoints.save(Checkpoint(step, 0, 0.0, None, {"a": torch.ones(1)}), tmp_path)
    (tmp_path / ".step-00000003.part").mkdir()
    found = checkpoints.latest(tmp_path)
    assert found is not None
    assert found.step == 2
    assert [path.name for path in tmp_path.glob("step-*")] == ["step-00000002"]


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    path = checkpoints.save(Checkpoint(1, 0, 0.0, None, {"a": torch.ones(1)}), tmp_path)
    (path / "00000.safetensors").write_bytes(b"no")
    with pytest.raises(RunError, match="a damaged checkpoint"):
        checkpoints.latest(tmp_path)
