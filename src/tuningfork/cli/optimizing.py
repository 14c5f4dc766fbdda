"""What `tuningfork optimize` does once its options are read; imports the heavy parts."""

import json
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tuningfork.cli.interrupts import naming_how_to_resume
from tuningfork.cli.progress import ProgressSink
from tuningfork.cli.registering import Registering
from tuningfork.library.optimization_folder import (
    OptimizationFolder,
    OptimizationOptions,
    OptimizationResult,
    is_optimization,
)
from tuningfork.recipes import optimize as recipe
from tuningfork.tasks.task import Task
from tuningfork.tuning.text.budget import WORDS

_COMMAND = "tuningfork optimize"
_STYLES = {"better": "bold green", "worse": "bold red"}


def start_search(
    task: Task,
    options: OptimizationOptions,
    *,
    runs: Path,
    registering: Registering,
    is_dry_run: bool,
    as_json: bool,
) -> None:
    """Start a search, print what it found, and register it.

    Raises:
        TuningForkError: of the kind that names what is wrong.
    """
    console = Console(stderr=as_json)
    before = _unfinished(runs)
    with (
        naming_how_to_resume(_COMMAND, lambda: sorted(_unfinished(runs) - before)),
        ProgressSink(console) as sink,
    ):
        if is_dry_run:
            recipe.plan_optimization(task, options, sink=sink)
            return
        folder = recipe.optimize(task, options, runs_folder=runs, sink=sink)
    show_search(console, folder, version=_register(folder, registering, runs), as_json=as_json)


def resume_search(path: Path, *, registering: Registering, as_json: bool) -> None:
    """Go on with the search at `path`, print what it found, and register it."""
    console = Console(stderr=as_json)
    folder = OptimizationFolder.open(path)
    with naming_how_to_resume(_COMMAND, lambda: [path]), ProgressSink(console) as sink:
        recipe.optimize(folder.start, folder.plan.options, resume=folder, sink=sink)
    version = _register(folder, registering, path.absolute().parent)
    show_search(console, folder, version=version, as_json=as_json)


def show_search(
    console: Console, folder: OptimizationFolder, *, version: str | None = None, as_json: bool
) -> None:
    """Print a finished search, for people or as one JSON object."""
    result = folder.result
    if as_json:
        found = {"path": str(folder.path), "optimization": result.model_dump(mode="json")}
        print(json.dumps(found | {"version": version}))
        return
    console.print()
    _print_prompt(console, result)
    console.print(_finalists(result))
    console.print()
    console.print(_scores(result))
    console.print(Text(result.verdict.sentence, style=_STYLES.get(result.verdict.verdict, "bold yellow")))
    spent = result.spent
    money = f", {spent.money:.4g} in money" if spent.money else ""
    ended = "nothing new came" if spent.ended_by == "nothing new" else f"{WORDS[spent.ended_by]} were spent"
    times = "for the first time" if result.test_reads == 1 else f"{result.test_reads} times by runs here"
    console.print(
        f"{result.num_candidates} prompts tried, {result.num_rejected} dropped early; {spent.calls:,} metric "
        f"calls, {spent.seconds:.0f} s{money}; ended as {ended}. Test set read {times}.",
        style="dim",
        highlight=False,
    )
    lines = [f"Saved     {folder.path}", f"Task      {folder.task_path}"]
    if version is not None:
        lines.append(f"Version   {version} in the library")
    if folder.is_run:
        lines.append(f'Try       tuningfork run {folder.path} "..."')
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _print_prompt(console: Console, result: OptimizationResult) -> None:
    if result.is_hand_written:
        console.print(
            "Nothing beat the hand-written prompt on validation: it is kept.", highlight=False, markup=False
        )
        return
    console.print(Text("Prompt", style="bold"))
    console.print(Text(result.prompt))
    console.print()


def _finalists(result: OptimizationResult) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(f"validation (n = {result.num_validation})")
    for name in ("rows shown", "search", result.metric, "log-loss"):
        table.add_column(name, justify="right")
    for one in result.finalists:
        table.add_row(
            one.strategy or "hand-written",
            str(one.num_demonstrations),
            _shown(one.train_score, 3),
            _shown(one.validation_score, result.digits),
            _shown(one.validation_log_loss, 3),
            style="bold" if one.is_chosen else "",
        )
    return table


def _scores(result: OptimizationResult) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("")
    table.add_column(f"{result.metric} on test (n = {result.num_test})")
    for name, score in (("hand-written prompt", result.hand_written), ("chosen prompt", result.optimized)):
        digits = result.digits
        table.add_row(
            name, Text(f"{score.score:.{digits}f}  [{score.low:.{digits}f}, {score.high:.{digits}f}]")
        )
    return table


def _shown(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _register(folder: OptimizationFolder, registering: Registering, runs: Path) -> str | None:
    if not folder.is_run:
        if not registering.no_register:
            typer.echo(
                "Not registered (no local model); register the words with: "
                f"tuningfork library register {folder.task_path}",
                err=True,
            )
        return None
    version = registering.register(folder.path, runs=runs)
    return None if version is None else version.reference


def _unfinished(runs: Path) -> set[Path]:
    folders = {path for path in runs.glob("*") if is_optimization(path)}
    return {path for path in folders if not OptimizationFolder(path).is_finished}
