"""Trains the toy task in processes that are killed at random moments; run as a script.

Arguments: a folder and a seed. For each method it leaves there the checkpoints `<method>.unbroken` and
`<method>.killed`, and prints how many processes were killed on the way to the second.
"""

import os
import random
import select
import signal
import sys
import traceback
from pathlib import Path

import torch

from tests.tiny_models import tiny_model
from tests.training.toy_task import toy_candidate, train_toy
from tuningfork.events import Event, StepFinished
from tuningfork.models.frozen import FrozenModel
from tuningfork.tuning.soft.registry import SOFT_METHODS

MAX_STEPS = 40
_KILLS = 6
_MOST_STEPS_UNTIL_KILL = 4
_LONGEST_DELAY_SECONDS = 0.02


class PipeSink:
    """Writes one byte for every step."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def emit(self, event: Event) -> None:
        if isinstance(event, StepFinished):
            os.write(self._pipe, b".")


def start_training(model: FrozenModel, method: str, checkpoint_path: Path) -> tuple[int, int]:
    """Train in a new process; return its id and the end of a pipe from which its steps can be read."""
    reading, writing = os.pipe()
    process = os.fork()
    if process:
        os.close(writing)
        return process, reading
    os.close(reading)
    status = 1
    try:
        # Without patience: a head learns the answers by heart and would stop before it is killed.
        candidate = toy_candidate(model, SOFT_METHODS[method], max_steps=MAX_STEPS, patience=0)
        train_toy(model, candidate, checkpoint_path, sink=PipeSink(writing))
        status = 0
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(status)


def is_killed(process: int, steps: int, *, after_steps: int, delay_seconds: float) -> bool:
    """Kill `process` a moment after it took some steps; whether it was still running then."""
    for _ in range(after_steps):
        os.read(steps, 1)
    select.select([steps], [], [], delay_seconds)
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    return os.WIFSIGNALED(status)


def train_to_the_end(model: FrozenModel, method: str, checkpoint_path: Path) -> None:
    process, steps = start_training(model, method, checkpoint_path)
    _, status = os.waitpid(process, 0)
    os.close(steps)
    if status:
        raise SystemExit(f"the training with {method} ended with status {status}")


def count_kills(model: FrozenModel, method: str, checkpoint_path: Path, generator: random.Random) -> int:
    """Start and kill several processes that train the same candidate; how many were still at it."""
    kills = 0
    for _ in range(_KILLS):
        process, steps = start_training(model, method, checkpoint_path)
        kills += is_killed(
            process,
            steps,
            after_steps=generator.randint(1, _MOST_STEPS_UNTIL_KILL),
            delay_seconds=generator.uniform(0, _LONGEST_DELAY_SECONDS),
        )
        os.close(steps)
    return kills


def main(folder: Path, seed: int) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    generator = random.Random(seed)
    model = tiny_model("llama")
    for method in SOFT_METHODS:
        train_to_the_end(model, method, folder / f"{method}.unbroken")
        print(count_kills(model, method, folder / f"{method}.killed", generator))
        train_to_the_end(model, method, folder / f"{method}.killed")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
