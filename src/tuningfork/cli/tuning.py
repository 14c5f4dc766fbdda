"""What `tuningfork tune` does once its options are read; imports the heavy parts."""

import json
from pathlib import Path

from rich.console import Console

from tuningfork.cli.interrupts import naming_how_to_resume
from tuningfork.cli.progress import ProgressSink
from tuningfork.cli.registering import Registering
from tuningfork.cli.tables import print_predictions, print_result
from tuningfork.library.contents import VersionRecord
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import TuneOptions
from tuningfork.recipes import tune as recipe
from tuningfork.tasks.task import Task

_SHOWN_ANSWERS = 3


def start_run(
    task: Task,
    options: TuneOptions,
    *,
    runs: Path,
    registering: Registering,
    is_dry_run: bool,
    as_json: bool,
) -> None:
    """Start a run, print its result, and register it.

    Raises:
        TuningForkError: of the kind that names what is wrong.
    """
    console = Console(stderr=as_json)
    before = _unfinished(runs)
    with (
        naming_how_to_resume("tuningfork tune", lambda: sorted(_unfinished(runs) - before)),
        ProgressSink(console) as sink,
    ):
        if is_dry_run:
            recipe.plan(task, options, sink=sink)
            return
        folder = recipe.tune(task, options, runs_folder=runs, sink=sink)
    print_run(console, folder, registering.register(folder.path, runs=runs), as_json=as_json)


def resume_run(path: Path, *, registering: Registering, as_json: bool) -> None:
    """Go on with the run at `path`, print its result, and register it."""
    console = Console(stderr=as_json)
    folder = RunFolder.open(path)
    with naming_how_to_resume("tuningfork tune", lambda: [path]), ProgressSink(console) as sink:
        recipe.tune(folder.task, folder.record.options, resume=folder, sink=sink)
    version = registering.register(path, runs=path.absolute().parent)
    print_run(console, folder, version, as_json=as_json)


def print_run(console: Console, folder: RunFolder, version: VersionRecord | None, *, as_json: bool) -> None:
    """Print a finished run and the version it became, for people or as one JSON object."""
    result = folder.result
    if as_json:
        described = {"path": str(folder.path), "result": result.model_dump(mode="json")}
        print(json.dumps(described | {"version": None if version is None else version.reference}))
        return
    console.print()
    print_result(console, result)
    if folder.task.type != "classification":
        print_predictions(
            console,
            folder.load_predictions(),
            [result.baseline, result.answer],
            count=_SHOWN_ANSWERS,
        )
    registered = [] if version is None else [f"Version   {version.reference} in the library"]
    for line in (
        f"Saved     {folder.path}",
        *registered,
        f'Try       tuningfork run {folder.path} "..."',
    ):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _unfinished(runs: Path) -> set[Path]:
    folders = {found.parent for found in runs.glob("*/run.json")}
    return {path for path in folders if not RunFolder(path).is_finished}
