"""Makes contestants in processes that are killed at random moments until one ends; run as a script.

Arguments: the folder of a model, a task file, a folder to work in, a seed. For each contestant
it leaves there `<name>.unbroken` and `<name>.killed` and prints how many processes were killed on the way to
the second.
"""

import json
import os
import random
import sys
from functools import partial
from pathlib import Path

import torch

from tests.recipes.contestants.weight_arena import OPTIONS, arena_of
from tests.training.killed_training import is_killed, start_training, train_to_the_end
from tuningfork.atomic import write_text
from tuningfork.events import EventSink
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.loading import load_model
from tuningfork.recipes.contestants.contestant import Contestant
from tuningfork.recipes.contestants.full import FullFineTuning
from tuningfork.recipes.contestants.low_rank import LowRank
from tuningfork.tasks.task import Task, load_task

_MOST_STEPS_UNTIL_KILL = 9
_OPTIONS = OPTIONS.model_copy(update={"max_steps": 12, "checkpoint_every": 1, "patience": 0})


def make(contestant: Contestant, model: FrozenModel, task: Task, work: Path, sink: EventSink) -> None:
    arena = arena_of(model, task, _OPTIONS, sink=sink)
    made = contestant.make(arena, work)
    found = {seed: answer(arena.prepared.rows).log_losses for seed, answer in made.answers.items()}
    write_text(work / "answers.json", json.dumps([found, made.setting]))


def main(model_folder: str, task_file: str, folder: Path, seed: int) -> None:
    torch.set_num_threads(1)
    generator = random.Random(seed)
    model = load_model(model_folder)
    task = load_task(Path(task_file))
    contestants: tuple[Contestant, ...] = (LowRank((0.003, 0.01)), FullFineTuning((0.003, 0.01)))
    for contestant in contestants:
        train_to_the_end(partial(make, contestant, model, task, folder / f"{contestant.name}.unbroken"))
        killed = partial(make, contestant, model, task, folder / f"{contestant.name}.killed")
        kills, is_done = 0, False
        while not is_done:
            process, steps = start_training(killed)
            after, delay = generator.randint(1, _MOST_STEPS_UNTIL_KILL), generator.uniform(0, 0.02)
            is_done = not is_killed(process, steps, after_steps=after, delay_seconds=delay)
            os.close(steps)
            kills += not is_done
        print(kills)
        train_to_the_end(killed)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
