"""What `tuningfork similar` prints; imports the heavy parts."""

import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tuningfork.recipes.prompt_transfer import rank_sources
from tuningfork.tuning.soft.defaults import TRANSFERRED_METHOD


def print_similar(run: Path, runs: Path, *, as_json: bool) -> None:
    """Print the runs in `runs` whose prompts can be compared with that of `run`, the most similar first.

    Raises:
        RunError: if there is no run at `run`, or its prompt cannot be compared.
    """
    found = rank_sources(run, sorted(path.parent for path in runs.glob("*/run.json")))
    if as_json:
        print(json.dumps([asdict(similarity) | {"path": str(similarity.path)} for similarity in found]))
        return
    console = Console()
    if not found:
        console.print(
            f"No other run in {runs} has virtual tokens in front for the same base model; tune one with "
            f"--method {TRANSFERRED_METHOD}",
            highlight=False,
            markup=False,
        )
        return
    table = Table(box=None, header_style="bold", caption_justify="left")
    for name in ("run", "task", "cosine of means", "of tokens"):
        table.add_column(name, no_wrap=True, justify="right" if "of" in name else "left")
    for similarity in found:
        table.add_row(
            escape(str(similarity.path)),
            escape(similarity.task),
            f"{similarity.of_means:.3f}",
            f"{similarity.of_tokens:.3f}",
        )
    console.print(table)
    console.print(
        f"Start from the first: tuningfork tune TASK --start-from {found[0].path}",
        highlight=False,
        markup=False,
    )
