"""Prompts, instruction tuning and both, in either order, on the same rows of the same tasks.

    python benchmarks/instruction_tuning.py [--tasks examples] [--model bundled] [--max-steps 60] [--full]
    python benchmarks/instruction_tuning.py --quick

Prints a table with the score of each way on the test rows of each task and the seconds that it took to make,
then one line of JSON. What one training makes for all tasks (an instructed model, a shared prompt) is counted
with each of them in equal parts. `--quick` takes few rows of the tasks with labels, and few steps: it shows
that everything works together, not what is best.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from tuningfork.evaluation.evaluate import Evaluator
from tuningfork.events import NullSink
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import TEXT_PROMPT, TUNED_PROMPT, TuneOptions
from tuningfork.models.artefacts import SoftPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.loading import load_model
from tuningfork.recipes.instruct import Instruction, instruct, read_record
from tuningfork.recipes.preparation import prepare
from tuningfork.recipes.tune import tune
from tuningfork.recipes.tune_shared import Sharing, tune_shared
from tuningfork.tasks.task import Task, load_task, save_task

ROOT = Path(__file__).parents[1]
WAYS = (
    "base + text",
    "base + prompt",
    "instructed + text",
    "instructed + prompt",
    "prompt, then instructed",
    "shared prompt",
    "shared + task prompt",
)
QUICK_ROWS = 16
QUICK_STEPS = 2


@dataclass(frozen=True, slots=True)
class Cell:
    """One way on one task."""

    task: str
    way: str
    metric: str
    score: float
    num_rows: int
    seconds: float
    """To make it; 0 for words as given."""


class Comparison:
    """Makes every way once and measures it on every task."""

    def __init__(self, tasks: Sequence[Task], model: str, work: Path, options: TuneOptions, rank: int | None):
        self._tasks = tasks
        self._work = work
        self._base = load_model(model, dtype="float32")
        self._options = options.model_copy(update={"model": model, "dtype": "float32"})
        self._rank = rank
        for task in tasks:
            save_task(task, work / "tasks" / f"{task.name}.yaml")

    def cells(self) -> list[Cell]:
        """All ways on all tasks."""
        found, runs = self._tuned("base", self._base, {})
        instructed, spent = self._instructed("instructed", ())
        more, _ = self._tuned("instructed", instructed, {"model": instructed.name}, spent)
        found += more
        found += self._prompt_first(runs)
        return sorted(found + self._shared(), key=lambda cell: (cell.task, WAYS.index(cell.way)))

    def _tuned(
        self, name: str, model: FrozenModel, changes: dict[str, str], spent: float = 0.0
    ) -> tuple[list[Cell], dict[str, RunFolder]]:
        """The text prompt and a tuned one for each task, with `spent` seconds before each."""
        cells, runs = [], {}
        for task in self._tasks:
            asked = self._options.model_copy(update=changes)
            run = tune(task, asked, runs_folder=self._work / f"{name}-runs", model=model)
            runs[task.name] = run
            ways = {way.name: way for way in run.result.ways}
            for short, way in (("text", ways[TEXT_PROMPT]), ("prompt", ways[TUNED_PROMPT])):
                seconds = way.seconds + spent
                cells.append(
                    Cell(task.name, f"{name} + {short}", task.metric, way.score, way.num_rows, seconds)
                )
        return cells, runs

    def _instructed(self, name: str, prompts: Sequence[Path]) -> tuple[FrozenModel, float]:
        """A tuned copy, and the seconds that it took for each task."""
        asked = self._options.model_copy(
            update={"lora_rank": self._rank, "methods": (), "learning_rates": (), "num_virtual_tokens": ()}
        )
        instruction = Instruction(self._work / "tasks", self._work / name, prompts=tuple(prompts))
        folder = instruct(instruction, asked)
        result = read_record(folder).result
        assert result is not None
        return load_model(str(folder), dtype="float32"), result.seconds / len(self._tasks)

    def _prompt_first(self, runs: dict[str, RunFolder]) -> list[Cell]:
        """Prompts that were tuned on the base, in front of a copy that was tuned behind them."""
        soft = {name: run for name, run in runs.items() if run.load_prompt()[1] is not None}
        model, spent = self._instructed("prompted", [run.path for run in soft.values()])
        cells = []
        for task in self._tasks:
            # Where the search kept the words, the copy was tuned behind these.
            prompt = soft[task.name].load_prompt()[1] if task.name in soft else None
            tuning = next(way.seconds for way in runs[task.name].result.ways if way.name == TUNED_PROMPT)
            cells.append(self._measured(task, WAYS[4], model, prompt, spent + tuning))
        return cells

    def _shared(self) -> list[Cell]:
        """One prompt for all tasks, as it is and as a start."""
        asked = self._options.model_copy(
            update={"num_virtual_tokens": (20,), "methods": (), "learning_rates": ()}
        )
        shared = tune_shared(Sharing(self._work / "tasks", self._work / "shared"), asked, model=self._base)
        spent = shared.shared_result.seconds / len(self._tasks)
        prompt = shared.load_prompt()[1]
        cells = []
        for task in self._tasks:
            cells.append(self._measured(task, WAYS[5], self._base, prompt, spent))
            changes = {"methods": ("multitask_prompt_tuning",), "start_from": str(shared.path)}
            run = tune(
                task, self._options.model_copy(update=changes), runs_folder=self._work / "on-top",
                model=self._base,
            )  # fmt: skip
            way = next(way for way in run.result.ways if way.name == TUNED_PROMPT)
            cells.append(Cell(task.name, WAYS[6], task.metric, way.score, way.num_rows, way.seconds + spent))
        return cells

    @torch.no_grad()
    def _measured(
        self, task: Task, way: str, model: FrozenModel, prompt: SoftPrompt | None, seconds: float
    ) -> Cell:
        prepared = prepare(task, model, self._options, NullSink())
        evaluator = Evaluator(model, task, prepared.renderer)
        prefix = model.prefix([prompt or prepared.renderer.prefix_ids])
        score = evaluator.evaluate(prefix, prepared.test).mean_score
        return Cell(task.name, way, task.metric, score, len(prepared.test), seconds)


def print_table(cells: Sequence[Cell]) -> None:
    """One block for each task."""
    print(f"{'task':<20} {'way':<26} {'score':>7}  {'metric':<12} {'n':>4} {'seconds':>8}")
    for cell in cells:
        print(
            f"{cell.task:<20} {cell.way:<26} {cell.score:7.3f}  {cell.metric:<12} {cell.num_rows:4d} "
            f"{cell.seconds:8.1f}"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table and the line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", type=Path, default=ROOT / "examples")
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--max-steps", type=int, default=60)
    parser.add_argument("--lora-rank", type=int, default=16)
    parser.add_argument("--full", action="store_true", help="train all weights instead of LoRA")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args(arguments)
    started = time.perf_counter()
    paths = sorted([*given.tasks.glob("*.yaml"), *given.tasks.glob("*/task.yaml")])
    tasks = [load_task(path) for path in paths]
    options = TuneOptions(
        methods=("prompt_tuning",), learning_rates=(0.1,), max_steps=given.max_steps, num_seeds=1, refit="no",
        seed=given.seed,
    )  # fmt: skip
    if given.quick:
        tasks = [task for task in tasks if task.type == "classification"]
        options = options.model_copy(update={"limit": QUICK_ROWS, "max_steps": QUICK_STEPS})
    with tempfile.TemporaryDirectory() as work:
        rank = None if given.full else given.lora_rank
        cells = Comparison(tasks, given.model, Path(work), options, rank).cells()
    print_table(cells)
    scores = {f"{cell.task} {cell.way}": round(cell.score, 4) for cell in cells}
    seconds = {f"{cell.task} {cell.way}": round(cell.seconds, 3) for cell in cells}
    total = round(time.perf_counter() - started, 1)
    print(json.dumps({"scores": scores, "seconds": seconds, "total_seconds": total, "is_quick": given.quick}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
