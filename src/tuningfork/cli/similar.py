"""`tuningfork similar`."""

from pathlib import Path
from typing import Annotated

import typer

from tuningfork.cli.options import JsonOption


def similar(
    run_path: Annotated[Path, typer.Argument(metavar="RUN", help="A run of the new task; a few steps do.")],
    runs: Annotated[Path, typer.Option("--runs", help="Folder that holds the runs to compare.")] = Path(
        "runs"
    ),
    as_json: JsonOption = False,
) -> None:
    """Rank other runs by how much their prompts resemble that of RUN, and recommend one to start from."""
    from tuningfork.cli.similarity import print_similar

    print_similar(run_path, runs, as_json=as_json)
