import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from tests.training.toy_task import assert_checkpoints_equal
from tuningfork.errors import RunError
from tuningfork.training.checkpoint import (
    Checkpoint,
    Progress,
    Validation,
    optimizer_tensors,
    pooled,
    restore_optimizer,
)

PROGRESS = Progress(
    step=12,
    best_step=10,
    best=Validation(metric=0.1 + 0.2, log_loss=1 / 3, num_rows=17, tempered=(0.7, 1 / 3)),
    best_metric=-0.7,
    validations_without_gain=2,
    is_finished=True,
    seconds=0.1,
    last_loss=2 / 3,
)


def some_checkpoint(progress: Progress = PROGRESS, *, seed: int = 0) -> Checkpoint:
    generator = torch.Generator().manual_seed(seed)
    return Checkpoint(
        progress=progress,
        module={"keys.0": torch.randn(2, 5, 8, generator=generator), "embeddings": torch.ones(3, 4)},
        best_module={"keys.0": torch.randn(2, 5, 8, generator=generator), "embeddings": torch.zeros(3, 4)},
        optimizer={"0.step": torch.tensor(12.0), "0.exp_avg": torch.randn(2, 5, 8, generator=generator)},
        sampler_generator=generator.get_state(),
        global_generator=torch.Generator().manual_seed(5).get_state(),
        sampler_order=[4, 0, 2],
    )


def rewrite(path: Path, **described: Any) -> None:
    """Write the checkpoint at `path` again with `described` in its description."""
    with safe_open(str(path), framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        before = json.loads(file.metadata()["checkpoint"])
    save_file(tensors, str(path), metadata={"checkpoint": json.dumps({**before, **described})})


@contextmanager
def largest_file(num_bytes: int) -> Iterator[None]:
    """Let no file grow beyond `num_bytes`, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_is_saved_is_loaded_to_the_last_bit(tmp_path: Path) -> None:
    checkpoint = some_checkpoint()
    checkpoint.save(tmp_path / "c")
    loaded = Checkpoint.load(tmp_path / "c")
    assert loaded.progress == PROGRESS
    assert_checkpoints_equal(loaded, checkpoint)


@given(
    numbers=st.tuples(*[st.floats(allow_nan=False)] * 4),
    order=st.lists(st.integers(0, 10**6)),
    step=st.integers(0, 10**9),
)
def test_any_progress_survives(
    numbers: tuple[float, ...], order: list[int], step: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    metric, log_loss, best_metric, last_loss = numbers
    progress = Progress(
        step=step,
        best=Validation(metric, log_loss, step),
        best_metric=best_metric,
        last_loss=last_loss,
        validations={0: Validation(None, log_loss, step), step + 1: Validation(metric, log_loss, step)},
    )
    path = tmp_path_factory.mktemp("any") / "c"
    replace(some_checkpoint(progress), sampler_order=order).save(path)
    loaded = Checkpoint.load(path)
    assert loaded.progress == progress
    assert loaded.sampler_order == order


def test_what_splits_say_pools_by_their_rows() -> None:
    together = pooled([Validation(1.0, 1.0, 1, (4.0, 1.0)), Validation(0.0, 2.0, 3, (0.0, 2.0))])
    assert together == Validation(0.25, 1.75, 4, (1.0, 1.75))
    assert (together.log_loss, together.calibrated_log_loss) == (1.75, 1.0)


def test_one_split_without_labels_leaves_the_others_uncalibrated() -> None:
    together = pooled([Validation(None, 1.0, 1, (0.5,)), Validation(None, 2.0, 1)])
    assert together == Validation(None, 1.5, 2)
    assert together.calibrated_log_loss == 1.5


def test_a_checkpoint_from_before_the_first_step_survives(tmp_path: Path) -> None:
    checkpoint = replace(some_checkpoint(Progress()), optimizer={}, sampler_order=[])
    checkpoint.save(tmp_path / "c")
    assert_checkpoints_equal(Checkpoint.load(tmp_path / "c"), checkpoint)


def test_tensors_that_share_or_skip_memory_are_stored_whole(tmp_path: Path) -> None:
    whole = torch.randn(4, 6)
    checkpoint = replace(
        some_checkpoint(), module={"a": whole.T, "b": whole[:, ::2]}, best_module={"a": whole.T}
    )
    checkpoint.save(tmp_path / "c")
    assert_checkpoints_equal(Checkpoint.load(tmp_path / "c"), checkpoint)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(share: float, tmp_path: Path) -> None:
    path = tmp_path / "c"
    some_checkpoint().save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(RunError, match=r"c: the checkpoint cannot be read \(.+\); remove it to start"):
        Checkpoint.load(path)


def test_a_file_that_is_missing_or_holds_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="absent: the checkpoint cannot be read"):
        Checkpoint.load(tmp_path / "absent")
    save_file({"a": torch.ones(2)}, str(tmp_path / "other"))
    with pytest.raises(RunError, match="other: the checkpoint cannot be read"):
        Checkpoint.load(tmp_path / "other")


def test_another_version_is_refused(tmp_path: Path) -> None:
    some_checkpoint().save(tmp_path / "c")
    rewrite(tmp_path / "c", version=99, progress={"unknown": 1})
    with pytest.raises(RunError, match="c: checkpoint version 99, expected 2"):
        Checkpoint.load(tmp_path / "c")


def test_an_incomplete_checkpoint_is_refused(tmp_path: Path) -> None:
    described = json.dumps({"version": 2, "progress": asdict(PROGRESS)})
    save_file({"module.a": torch.ones(2)}, str(tmp_path / "c"), metadata={"checkpoint": described})
    with pytest.raises(RunError, match="c: the checkpoint cannot be read"):
        Checkpoint.load(tmp_path / "c")
    some_checkpoint().save(tmp_path / "d")
    rewrite(tmp_path / "d", progress={"unknown": 1})
    with pytest.raises(RunError, match="d: the checkpoint cannot be read"):
        Checkpoint.load(tmp_path / "d")


def test_a_crash_while_writing_leaves_the_old_checkpoint_whole(tmp_path: Path) -> None:
    path = tmp_path / "c"
    old = some_checkpoint()
    old.save(path)
    newer = replace(some_checkpoint(seed=1), module={"keys.0": torch.randn(2, 50, 80)})
    with (
        largest_file(20_000),
        pytest.raises(
            RunError, match=r"c: the checkpoint cannot be written \(.*File too large.*then resume the run"
        ),
    ):
        newer.save(path)
    assert_checkpoints_equal(Checkpoint.load(path), old)
    assert [file.name for file in tmp_path.iterdir()] == ["c"]
    newer.save(path)
    assert_checkpoints_equal(Checkpoint.load(path), newer)


def trained_optimizer(module: nn.Module, steps: int) -> torch.optim.AdamW:
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1, weight_decay=0.01)
    step_on(module, optimizer, steps)
    return optimizer


def step_on(module: nn.Module, optimizer: torch.optim.AdamW, steps: int) -> None:
    inputs = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    for _ in range(steps):
        optimizer.zero_grad()
        torch.autograd.backward(module(inputs).square().sum())
        optimizer.step()


def test_an_optimizer_goes_on_where_another_stood() -> None:
    module = nn.Linear(3, 2)
    optimizer = trained_optimizer(module, steps=3)
    weights = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    tensors = optimizer_tensors(optimizer)
    assert tensors.keys() == {
        f"{index}.{name}" for index in (0, 1) for name in ("step", "exp_avg", "exp_avg_sq")
    }
    step_on(module, optimizer, 3)

    other = nn.Linear(3, 2)
    other_optimizer = trained_optimizer(other, steps=1)
    other.load_state_dict(weights)
    restore_optimizer(other_optimizer, tensors)
    step_on(other, other_optimizer, 3)
    for found, expected in zip(other.parameters(), module.parameters(), strict=True):
        assert torch.equal(found, expected)
    found_tensors = optimizer_tensors(other_optimizer)
    for name, tensor in optimizer_tensors(optimizer).items():
        assert torch.equal(found_tensors[name], tensor), name


def test_an_optimizer_without_a_step_has_no_state() -> None:
    module = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(module.parameters())
    assert optimizer_tensors(optimizer) == {}
    stepped = trained_optimizer(module, steps=1)
    restore_optimizer(stepped, {})
    assert optimizer_tensors(stepped) == {}
