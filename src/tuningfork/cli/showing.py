"""What `tuningfork show` prints; imports the heavy parts."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tuningfork.cli.comparing import show_comparison
from tuningfork.cli.optimizing import show_search
from tuningfork.cli.shared_tables import print_shared
from tuningfork.cli.tables import method_name, print_candidates, print_predictions, print_result
from tuningfork.library.comparison_folder import ComparisonFolder, is_comparison
from tuningfork.library.optimization_folder import OptimizationFolder, is_optimization
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import PromptRecord, RunRecord, TuneResult


def show_folder(path: Path, *, answers: int, as_json: bool) -> None:
    """Print the run or the comparison at `path`."""
    if is_comparison(path):
        show_comparison(Console(), ComparisonFolder(path), as_json=as_json)
    elif is_optimization(path):
        show_search(Console(), OptimizationFolder.open(path), as_json=as_json)
    else:
        show_run(path, answers=answers, as_json=as_json)


def show_run(path: Path, *, answers: int, as_json: bool) -> None:
    """Print the run at `path`."""
    folder = RunFolder.open(path)
    record = folder.record
    if as_json:
        print(json.dumps(_described(folder)))
        return
    console = Console()
    if record.origin == "shared":
        print_shared(console, folder)
        return
    task = folder.task
    console.print(
        f"Run       {folder.path}  ({record.created}, {record.origin})", highlight=False, markup=False
    )
    console.print(f"Task      {task.name}: {task.type}, {task.metric}", highlight=False, markup=False)
    model = record.model
    console.print(
        f"Model     {model.name} ({model.num_parameters / 1e6:.1f} M parameters, {model.dtype}), "
        f"weights {model.weights[:12]}",
        highlight=False,
        markup=False,
    )
    if record.origin == "import":
        prompt = folder.load_prompt()[0]
        console.print(
            f"Prompt    {prompt.method}, {prompt.num_tokens} virtual tokens; imported, not evaluated here"
        )
        return
    result = folder.result
    prompt = folder.load_prompt()[0]
    console.print(f"Prompt    {_chosen(record, result, prompt)}", highlight=False, markup=False)
    for part in record.composition.parts if record.composition is not None else ():
        share = "" if part.weight is None else f", share {part.weight:.3g}"
        console.print(f"Part      {part.run} ({part.sha256[:12]}{share})", highlight=False, markup=False)
    if (adapter := prompt.adapter) is not None:
        console.print(
            f"Adapter   LoRA of rank {adapter.rank}, alpha {adapter.alpha:g}, learning rate "
            f"{adapter.learning_rate:g}, on {', '.join(adapter.targets) or 'every linear layer'}",
            highlight=False,
            markup=False,
        )
    held_out = (
        f"in {result.num_folds} folds to choose settings"
        if result.num_folds > 1
        else f"{result.num_validation} validation"
    )
    separator = ", " if result.num_folds > 1 else " / "
    console.print(
        f"Data      {result.num_train} train{separator}{held_out} / {result.num_test} test", highlight=False
    )
    console.print()
    print_result(console, result)
    console.print()
    if result.candidates:
        print_candidates(console, result.candidates, result.metric)
    if answers:
        print_predictions(console, folder.load_predictions(), [result.baseline, result.answer], count=answers)


def _chosen(record: RunRecord, result: TuneResult, prompt: PromptRecord) -> str:
    """What a run answers with."""
    if prompt.kind != "soft":
        return f"the {result.baseline} (nothing tuned was better on validation)"
    if record.composition is not None:
        described = f"{result.answer} by {record.composition.how}"
        return f"{described}, {prompt.num_tokens} virtual tokens" if not prompt.members else described
    together = f"{result.answer}, each " if prompt.members else ""
    return (
        f"{together}{method_name(prompt.method or '', prompt.placement)}, "
        f"learning rate {prompt.learning_rate:g}, {prompt.num_tokens} virtual tokens"
    )


def list_runs(parent: Path, *, as_json: bool) -> None:
    """Print the runs in `parent`."""
    folders = [RunFolder.open(found.parent) for found in sorted(parent.glob("*/run.json"))]
    if as_json:
        print(json.dumps([_described(folder) for folder in folders]))
        return
    console = Console()
    if not folders:
        console.print(
            f"No runs in {parent}; make one with: tuningfork tune EXAMPLES", highlight=False, markup=False
        )
        return
    table = Table(box=None, header_style="bold")
    for name in ("run", "made", "model", "result"):
        table.add_column(name, no_wrap=True)
    for folder in folders:
        record = folder.record
        table.add_row(
            str(folder.path),
            record.created[:16].replace("T", " "),
            # Of a folder its own name is enough to tell models apart.
            Path(record.model.name).name,
            _in_short(folder),
        )
    console.print(table)


def _in_short(folder: RunFolder) -> str:
    if folder.record.origin == "import":
        return "imported"
    if folder.record.origin == "shared":
        return f"{'' if folder.is_finished else 'unfinished, '}shared by {len(folder.record.sources)} tasks"
    if not folder.is_finished:
        return "unfinished, tune --resume"
    result = folder.result
    tuned = next(way for way in result.ways if way.name == result.answer)
    return f"{result.metric} {tuned.score:.{result.digits}f}, {result.verdict.verdict}"


def _described(folder: RunFolder) -> dict[str, Any]:
    described: dict[str, Any] = {"path": str(folder.path), "run": folder.record.model_dump(mode="json")}
    if folder.is_finished:
        is_shared = folder.record.origin == "shared"
        result = folder.shared_result if is_shared else folder.result
        described["result"] = result.model_dump(mode="json")
    return described
