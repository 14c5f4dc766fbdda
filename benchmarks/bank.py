"""Trainings of the bundled model side by side in a bank, against the same trainings one after the other.

    python benchmarks/bank.py [--quick] [--repeats 5] [--micro-batch-size 16]

Both train the same prompts on the same rows of a shipped example, in turns and in this process. Prints a
table, then one line of JSON. Exits with 1 if a loss of the bank differs from the loss of the same training
alone by more than 1e-4 of it.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil
import torch

from tuningfork.events import NullSink, StepFinished
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.loading import load_model
from tuningfork.recipes.demo import examples_folder
from tuningfork.recipes.preparation import RenderedRows, prepare
from tuningfork.recipes.search_space import objective_of
from tuningfork.tasks.task import load_task
from tuningfork.training import loop
from tuningfork.training.arguments import TrainingArguments
from tuningfork.training.loop import Candidate, Training
from tuningfork.training.objectives import Objective
from tuningfork.tuning.soft.registry import get_soft_method
from tuningfork.types import TrainingRow

LARGEST_LOSS_DIFFERENCE = 1e-4
EXAMPLE = "ticket_routing"
RATES = {"prompt_tuning": 0.03, "prefix_tuning": 0.01}


@dataclass(frozen=True, slots=True)
class Case:
    """So many trainings of a method, with so many virtual tokens each."""

    method: str
    num_virtual_tokens: int
    num_trainings: int

    @property
    def key(self) -> str:
        """How the case is named in the figures."""
        return f"{self.method}_p{self.num_virtual_tokens}_k{self.num_trainings}"


QUICK_CASES = (Case("prompt_tuning", 20, 8), Case("prefix_tuning", 20, 8))
ALL_CASES = tuple(
    Case(method, tokens, count) for method in RATES for tokens in (20, 60, 120) for count in (2, 4, 8)
)


@dataclass(frozen=True, slots=True)
class Setting:
    """What all cases train on."""

    model: FrozenModel
    rows: Sequence[TrainingRow]
    objective: Objective
    micro_batch_size: int

    def trainings(self, case: Case) -> list[Training]:
        """The trainings of `case`, at their starts; they differ in seed and learning rate."""
        ids = [token for row in self.rows for token in row.ids if token >= 0]
        embeddings = self.model.embed(ids[: case.num_virtual_tokens]).float()
        return [
            Training(
                self.model,
                Candidate(
                    name=f"{case.key}-{number}",
                    method=get_soft_method(case.method),
                    embeddings=embeddings,
                    arguments=TrainingArguments(
                        learning_rate=RATES[case.method] / (1 + number),
                        micro_batch_size=self.micro_batch_size,
                        seed=number,
                    ),
                    objective=self.objective,
                ),
                self.rows,
                higher_is_better=True,
            )
            for number in range(case.num_trainings)
        ]


def read_setting(micro_batch_size: int) -> Setting:
    """The bundled model in float32 and the training rows of the example."""
    model = load_model(dtype="float32")
    task = load_task(examples_folder() / EXAMPLE / "task.yaml")
    options = TuneOptions()
    prepared = prepare(task, model, options, NullSink())
    rows = list(RenderedRows(prepared.renderer, prepared.rows))
    return Setting(model, rows, objective_of(prepared, options), micro_batch_size)


@dataclass(frozen=True, slots=True)
class Measurement:
    """Seconds are medians over the repeats, for one step of every training."""

    alone: float
    together: float
    alone_processor: float
    together_processor: float
    loss_difference: float
    """How far a loss of the bank is from that of the same training alone, relative to the latter."""


def measure(setting: Setting, case: Case, repeats: int) -> Measurement:
    """A step of all trainings of `case`, one after the other and in a bank, in turns."""
    alone, together = setting.trainings(case), setting.trainings(case)
    ways: dict[str, Callable[[], list[StepFinished]]] = {
        "alone": lambda: [training.step() for training in alone],
        "together": lambda: loop.step_together(together),
    }
    walls: dict[str, list[float]] = {name: [] for name in ways}
    processors: dict[str, list[float]] = {name: [] for name in ways}
    difference = 0.0
    # The first step warms the machine up.
    for repeat in range(repeats + 1):
        losses = {}
        for name, step in ways.items():
            started, processor = time.perf_counter(), time.process_time()
            losses[name] = [event.loss for event in step()]
            if repeat:
                walls[name].append(time.perf_counter() - started)
                processors[name].append(time.process_time() - processor)
        pairs = zip(losses["together"], losses["alone"], strict=True)
        difference = max(difference, *(abs(found - expected) / abs(expected) for found, expected in pairs))
    return Measurement(
        alone=statistics.median(walls["alone"]),
        together=statistics.median(walls["together"]),
        alone_processor=statistics.median(processors["alone"]),
        together_processor=statistics.median(processors["together"]),
        loss_difference=difference,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--quick", action="store_true", help="two cases, two repeats, under a minute")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--micro-batch-size", type=int, default=16)
    given = parser.parse_args(arguments)
    setting = read_setting(given.micro_batch_size)
    cases, repeats = (QUICK_CASES, 2) if given.quick else (ALL_CASES, given.repeats)
    print(f"{len(setting.rows)} rows of {EXAMPLE}, bundled model, float32,")
    print(f"{torch.get_num_threads()} threads, load {psutil.getloadavg()[0]:.1f};")
    print(f"seconds for a step of K trainings, median of {repeats}\n")
    columns = f"{'alone':>8} {'bank':>8} {'ratio':>6} {'processor':>10} {'loss':>8}"
    print(f"{'method':<14} {'P':>4} {'K':>3} {columns}")
    figures: dict[str, float] = {}
    largest = 0.0
    for case in cases:
        found = measure(setting, case, repeats)
        ratio = found.together / found.alone
        processor = found.together_processor / found.alone_processor
        largest = max(largest, found.loss_difference)
        figures[f"time_bank_over_alone_{case.key}"] = round(ratio, 3)
        figures[f"processor_bank_over_alone_{case.key}"] = round(processor, 3)
        print(
            f"{case.method:<14} {case.num_virtual_tokens:>4} {case.num_trainings:>3} {found.alone:>8.3f} "
            f"{found.together:>8.3f} {ratio:>6.2f} {processor:>10.2f} {found.loss_difference:>8.0e}",
            flush=True,
        )
    print(json.dumps({**figures, "largest_loss_difference": largest}))
    return int(largest > LARGEST_LOSS_DIFFERENCE)


if __name__ == "__main__":
    sys.exit(main())
