"""What `tuningfork compare` does once its options are read; imports the heavy parts."""

import json
import shlex
import sys
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from tuningfork.cli.comparison_tables import print_comparison
from tuningfork.cli.interrupts import naming_how_to_resume
from tuningfork.cli.progress import ProgressSink
from tuningfork.library.comparison_folder import ComparisonFolder, ComparisonOptions, is_comparison
from tuningfork.library.folder_lock import is_held
from tuningfork.recipes import compare as recipe
from tuningfork.tasks.task import Task


def start_comparison(
    task: Task, options: ComparisonOptions, *, runs: Path, is_dry_run: bool, as_json: bool
) -> None:
    """Start a comparison and print what it found.

    Raises:
        TuningForkError: of the kind that names what is wrong.
    """
    console = Console(stderr=as_json)
    before = _unfinished(runs)
    with (
        naming_how_to_resume("tuningfork compare", lambda: sorted(_unfinished(runs) - before)),
        ProgressSink(console) as sink,
    ):
        if is_dry_run:
            forecast = recipe.plan_comparison(task, options, sink=sink)
            if as_json:
                print(json.dumps(asdict(forecast)))
            return
        command = shlex.join(["tuningfork", *sys.argv[1:]])
        folder = recipe.compare(task, options, runs_folder=runs, sink=sink, command=command)
    show_comparison(console, folder, as_json=as_json)


def resume_comparison(path: Path, *, as_json: bool) -> None:
    """Go on with the comparison at `path` and print what it found."""
    console = Console(stderr=as_json)
    folder = ComparisonFolder.open(path)
    with naming_how_to_resume("tuningfork compare", lambda: [path]), ProgressSink(console) as sink:
        recipe.compare(folder.task, folder.plan.options, resume=folder, sink=sink)
    show_comparison(console, folder, as_json=as_json)


def show_comparison(console: Console, folder: ComparisonFolder, *, as_json: bool) -> None:
    """Print a finished comparison, for people or as one JSON object."""
    record = folder.record
    if as_json:
        print(json.dumps({"path": str(folder.path), "comparison": record.model_dump(mode="json")}))
        return
    print_comparison(console, record, folder)


def _unfinished(runs: Path) -> set[Path]:
    """Comparisons that go on when somebody says so; without those that another process works on."""
    folders = {path for path in runs.glob("*") if is_comparison(path)}
    return {path for path in folders if not ComparisonFolder(path).is_finished and not is_held(path)}
