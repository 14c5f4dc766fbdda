"""The state of a training between two steps, and its file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tuningfork.atomic import replacing_all
from tuningfork.errors import RunError

_VERSION = 2


@dataclass(frozen=True, slots=True)
class Validation:
    """What validation found on some rows."""

    metric: float | None
    """The task's metric; None where no answers were generated to be scored, and the log-loss alone counts."""
    log_loss: float
    """Mean, in nats."""
    num_rows: int
    tempered: tuple[float, ...] = ()
    """Log-loss at each of `calibration.TEMPERATURES`; empty where no labels are told apart."""

    @property
    def calibrated_log_loss(self) -> float:
        """The log-loss at the temperature that suits best: how well labels are told apart, however sure."""
        return min(self.tempered, default=self.log_loss)


def pooled(validations: Sequence[Validation]) -> Validation:
    """What validations on different rows say together."""
    num_rows = sum(validation.num_rows for validation in validations)
    metrics = [v.metric * v.num_rows for v in validations if v.metric is not None]
    # Unless all tell labels apart, temperatures say nothing about them together.
    tempered = [v.tempered for v in validations] if all(v.tempered for v in validations) else []
    return Validation(
        metric=sum(metrics) / num_rows if len(metrics) == len(validations) else None,
        log_loss=sum(v.log_loss * v.num_rows for v in validations) / num_rows,
        num_rows=num_rows,
        tempered=tuple(
            sum(loss * v.num_rows for loss, v in zip(losses, validations, strict=True)) / num_rows
            for losses in zip(*tempered, strict=True)
        ),
    )


@dataclass(frozen=True, slots=True)
class Progress:
    """Everything about a training that is a plain number."""

    step: int = 0
    """Optimizer steps done."""
    best_step: int = 0
    best: Validation | None = None
    best_metric: float | None = None
    """The best task metric so far, at whichever step; early stopping watches it."""
    validations_without_gain: int = 0
    is_finished: bool = False
    """Whether the step budget is used up or early stopping has fired."""
    seconds: float = 0.0
    """Time spent in steps and validations, over all sessions."""
    last_loss: float = 0.0
    validations: dict[int, Validation] = field(default_factory=dict)
    """Every validation so far, by step."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Enough to continue a training as if it had never stopped."""

    progress: Progress
    module: dict[str, Tensor]
    """Trainable state now."""
    best_module: dict[str, Tensor]
    """Trainable state at the best validation."""
    optimizer: dict[str, Tensor]
    """AdamW's moments and step counts, by parameter index."""
    sampler_generator: Tensor
    global_generator: Tensor
    """torch's own generator as this training leaves it: modules with dropout draw from it."""
    sampler_order: list[int] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write the checkpoint to `path`, whole or not at all.

        Raises:
            RunError: if it cannot be written, as on a full disk.
        """
        save_checkpoints({path: self})

    def _write(self, path: Path) -> None:
        tensors = {
            **{f"module.{name}": tensor for name, tensor in self.module.items()},
            **{f"best.{name}": tensor for name, tensor in self.best_module.items()},
            **{f"optimizer.{name}": tensor for name, tensor in self.optimizer.items()},
            "generator.sampler": self.sampler_generator,
            "generator.global": self.global_generator,
            "sampler.order": torch.tensor(self.sampler_order, dtype=torch.int64),
        }
        stored = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        described = json.dumps({"version": _VERSION, "progress": asdict(self.progress)})
        save_file(stored, str(path), metadata={"checkpoint": described})

    @classmethod
    def load(cls, path: Path) -> "Checkpoint":
        """Read a checkpoint.

        Raises:
            RunError: if the file is damaged or was written by another version.
        """
        try:
            with safe_open(str(path), framework="pt") as file:
                described = json.loads((file.metadata() or {})["checkpoint"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if described["version"] == _VERSION:
                return cls._assemble(described["progress"], tensors)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"{path}: the checkpoint cannot be read ({error}); remove it to start this candidate anew"
            ) from error
        raise RunError(f"{path}: checkpoint version {described['version']}, expected {_VERSION}")

    @classmethod
    def _assemble(cls, numbers: dict[str, Any], tensors: dict[str, Tensor]) -> "Checkpoint":
        # JSON knows only text as keys.
        validations = {int(step): _validation(found) for step, found in numbers.pop("validations").items()}
        progress = Progress(**numbers, validations=validations)
        if progress.best is not None:
            progress = replace(progress, best=_validation(numbers["best"]))

        def part(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}

        return cls(
            progress=progress,
            module=part("module."),
            best_module=part("best."),
            optimizer=part("optimizer."),
            sampler_generator=tensors["generator.sampler"],
            global_generator=tensors["generator.global"],
            sampler_order=tensors["sampler.order"].tolist(),
        )


def _validation(found: dict[str, Any]) -> Validation:
    # JSON knows no tuples.
    return Validation(**found | {"tempered": tuple(found.get("tempered", ()))})


def save_checkpoints(checkpoints: Mapping[Path, Checkpoint]) -> None:
    """Write every checkpoint to its path, all of them or none: they stand at steps that belong together.

    Raises:
        RunError: if they cannot be written, as on a full disk.
    """
    paths = list(checkpoints)
    try:
        with replacing_all(paths) as temporaries:
            for temporary, checkpoint in zip(temporaries, checkpoints.values(), strict=True):
                checkpoint._write(temporary)
    except (SafetensorError, OSError) as error:
        raise RunError(
            f"{paths[0]}: the checkpoint cannot be written ({error}); make room, then resume the run"
        ) from error


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Copies of the optimizer's state as named tensors."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": tensor.clone() for index, entry in state.items() for name, tensor in entry.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Give `optimizer` copies of the state that `optimizer_tensors` took."""
    described = optimizer.state_dict()
    described["state"] = {}
    for name, tensor in tensors.items():
        index, _, entry = name.partition(".")
        described["state"].setdefault(int(index), {})[entry] = tensor.clone()
    optimizer.load_state_dict(described)
