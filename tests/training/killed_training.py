"""Trains the toy task in processes that are killed at random moments; run as a script.

Arguments: a folder and a seed. For each method it leaves there the checkpoints `<method>.unbroken` and
`<method>.killed`, and prints how many processes were killed on the way to the second. With `bank` as a third
argument it does so for several trainings side by side, in the folders `unbroken` and `killed`.
"""

import os
import random
import select
import signal
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from tests.tiny_models import tiny_model
from tests.training.bank_task import assignments_of, varied_candidates
from tests.training.toy_task import toy_candidate, train_toy
from tuningfork.events import Event, EventSink, StepFinished
from tuningfork.models.frozen import FrozenModel
from tuningfork.training.loop import train_bank
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


Start = Callable[[EventSink], object]
"""Trains from the last checkpoints to the end."""


def start_training(train: Start) -> tuple[int, int]:
    """Train in a new process; return its id and the end of a pipe from which its steps can be read."""
    reading, writing = os.pipe()
    process = os.fork()
    if process:
        os.close(writing)
        return process, reading
    os.close(reading)
    status = 1
    try:
        train(PipeSink(writing))
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


def train_to_the_end(train: Start) -> None:
    process, steps = start_training(train)
    _, status = os.waitpid(process, 0)
    os.close(steps)
    if status:
        raise SystemExit(f"the training ended with status {status}")


def count_kills(train: Start, generator: random.Random, most_steps: int = _MOST_STEPS_UNTIL_KILL) -> int:
    """Start and kill several processes that do the same training; how many were still at it."""
    kills = 0
    for _ in range(_KILLS):
        process, steps = start_training(train)
        kills += is_killed(
            process,
            steps,
            after_steps=generator.randint(1, most_steps),
            delay_seconds=generator.uniform(0, _LONGEST_DELAY_SECONDS),
        )
        os.close(steps)
    return kills


def train_alone(model: FrozenModel, method: str, checkpoint_path: Path, sink: EventSink) -> None:
    # Without patience: a head learns the answers by heart and would stop before it is killed.
    candidate = toy_candidate(model, SOFT_METHODS[method], max_steps=MAX_STEPS, patience=0)
    train_toy(model, candidate, checkpoint_path, sink=sink)


def train_side_by_side(model: FrozenModel, folder: Path, sink: EventSink) -> None:
    method = SOFT_METHODS["prompt_tuning"]
    candidates = varied_candidates(model, method, max_steps=MAX_STEPS, checkpoint_every=1)
    train_bank(assignments_of(model, candidates, folder), metric="probability", sink=sink)


def main(folder: Path, seed: int, *, is_bank: bool) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    generator = random.Random(seed)
    model = tiny_model("llama")
    if is_bank:
        train_to_the_end(partial(train_side_by_side, model, folder / "unbroken"))
        killed = partial(train_side_by_side, model, folder / "killed")
        print(count_kills(killed, generator, most_steps=5 * _MOST_STEPS_UNTIL_KILL))
        train_to_the_end(killed)
        return
    for method in SOFT_METHODS:
        train_to_the_end(partial(train_alone, model, method, folder / f"{method}.unbroken"))
        killed = partial(train_alone, model, method, folder / f"{method}.killed")
        print(count_kills(killed, generator))
        train_to_the_end(killed)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), is_bank="bank" in sys.argv[3:])
