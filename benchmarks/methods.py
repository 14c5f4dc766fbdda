"""Every soft-prompt method on the same tasks, against PEFT.

    python benchmarks/methods.py --list
    python benchmarks/methods.py [--only 'banking77_6/*'] [--threads 1] [--banking77 FOLDER]
    python benchmarks/methods.py --quick

A cell is one way of prompting on one task, trained for five seeds, each in a process of its own. It is one
line of the records file; what stands there for the same model is not measured again, so the command can be
stopped and started at will, also several at once with other `--only`. It prints a table, the default search
against PEFT, then one line of JSON. `--quick` checks the stored records and trains small cells twice; it
exits with 1 if scores do not follow from predictions, or two equal trainings differ.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

if not __package__:
    # Run as a file, Python looks for modules beside it instead of above it.
    sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.method_cells import records as stored
from benchmarks.method_cells.cells import MEASURED, TASKS, WAYS, Cell, Record, Scale
from benchmarks.method_cells.report import figures, print_comparisons, print_table
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.loading import load_model

RECORDS = Path(__file__).parent / "methods" / "records.jsonl"
BANKING77 = Path(__file__).parents[2] / "shared" / "data"
QUICK_CELLS = (("review_sentiment", "prompt_tuning"), ("review_sentiment", "peft_prompt_tuning"))
QUICK_SCALE = Scale(max_steps=2, num_seeds=2, num_test_rows=16, rates=(0.03,))


def cells(patterns: Sequence[str]) -> list[tuple[str, str]]:
    """Tasks and ways in the order they are measured in: those that match, pattern by pattern, or all."""
    every = [(task, way) for task in TASKS for way in WAYS]
    chosen = [cell for pattern in patterns for cell in every if fnmatchcase("/".join(cell), pattern)]
    return list(dict.fromkeys(chosen)) if patterns else every


def missing(records: Path, model: str, patterns: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Cells to measure; each is looked up when its turn comes, as others may have measured it by then."""
    for task, way in cells(patterns):
        if not stored.is_there(of_model(records, model), task, way):
            yield task, way


def of_model(records: Path, model: str) -> list[Record]:
    """What is stored for a hash of weights."""
    return [record for record in stored.load(records) if record["model"] == model]


def measure(model: FrozenModel, task: str, way: str, records: Path, banking77: Path) -> Record:
    """Measure a cell in this process, and store it."""
    with tempfile.TemporaryDirectory() as work:
        record = Cell(model, task, way, banking77, Path(work), Scale()).measure()
    stored.add(records, record)
    return record


def measure_apart(arguments: argparse.Namespace, task: str, way: str) -> int:
    """Measure a cell in a process of its own, whose peak of memory is then that of the cell."""
    environment = dict(os.environ)
    if arguments.threads:
        environment["OMP_NUM_THREADS"] = str(arguments.threads)
    command = [sys.executable, __file__, "--cell", task, way, "--model", arguments.model]
    command += ["--records", str(arguments.records), "--banking77", str(arguments.banking77)]
    return subprocess.run(command, env=environment, check=False).returncode


def check_quickly(model: FrozenModel, records: Sequence[Record], banking77: Path) -> list[str]:
    """What is wrong with the records, and which small cells differ when they are trained twice."""
    found = stored.problems(records)
    for task, way in QUICK_CELLS:
        once, again = (_small(model, task, way, banking77) for _ in range(2))
        same = {key: once[key] == again[key] for key in ("scores", "predictions", "log_losses", "settings")}
        print(
            f"{task}/{way}, {QUICK_SCALE.max_steps} steps, twice: {'equal' if all(same.values()) else same}"
        )
        if not all(same.values()):
            found.append(f"{task}/{way}: two equal trainings differ")
    return found


def _small(model: FrozenModel, task: str, way: str, banking77: Path) -> Record:
    with tempfile.TemporaryDirectory() as work:
        return Cell(model, task, way, banking77, Path(work), QUICK_SCALE).measure()


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="check the stored records, under a minute")
    parser.add_argument("--list", action="store_true", help="name the cells that are missing, and stop")
    parser.add_argument(
        "--only", action="append", default=[], metavar="TASK/WAY",
        help="cells to measure, with * and ?; repeat for several, which are measured in that order",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, help="OMP_NUM_THREADS of the cells")
    parser.add_argument("--cell", nargs=2, metavar=("TASK", "WAY"), help="measure one cell in this process")
    parser.add_argument("--model", default="bundled", help="model folder or name")
    parser.add_argument("--records", type=Path, default=RECORDS, help="file of the records")
    parser.add_argument("--banking77", type=Path, default=BANKING77, help="folder of banking77_*.csv")
    return parser.parse_args(arguments)


def main(given: Sequence[str] | None = None) -> int:
    """Measure what is not yet in the records, and print all."""
    arguments = parse_arguments(given)
    model = load_model(arguments.model, dtype="float32")
    weights = model.identity().weights
    if arguments.cell:
        task, way = arguments.cell
        record = measure(model, task, way, arguments.records, arguments.banking77)
        told = _told(record)
        print(f"{task}/{way}: {told}", flush=True)
        return 0
    if arguments.list:
        for cell in missing(arguments.records, weights, arguments.only):
            print("/".join(cell))
        return 0
    problems: list[str] = []
    if arguments.quick:
        problems = check_quickly(model, of_model(arguments.records, weights), arguments.banking77)
    else:
        for task, way in missing(arguments.records, weights, arguments.only):
            if measure_apart(arguments, task, way):
                problems.append(f"{task}/{way}: the cell failed; it is still missing")
    records = of_model(arguments.records, weights)
    print_table(records)
    print_comparisons(records)
    for problem in problems:
        print(problem, file=sys.stderr)
    print(json.dumps(figures(records)))
    return 1 if problems else 0


def _told(record: Record) -> str:
    if record["status"] != MEASURED:
        return f"{record['status']}: {record['reason']}"
    scores = " ".join(f"{score:.3f}" for score in record["scores"])
    return f"{scores}  {record['seconds']:.0f} s, {record['peak_bytes'] / 1e6:.0f} MB at most"


if __name__ == "__main__":
    sys.exit(main())
