"""`tuningfork similar`."""

from pathlib import Path
from typing import Annotated

import typer

from tuningfork.cli.library.options import LibraryOption
from tuningfork.cli.options import JsonOption
from tuningfork.cli.run_names import run_path


def similar(
    run_name: Annotated[
        str, typer.Argument(metavar="RUN", help="A run or version of the new task; a few steps do.")
    ],
    runs: Annotated[Path, typer.Option("--runs", help="Folder that holds the runs to compare.")] = Path(
        "runs"
    ),
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rank other runs by how much their prompts resemble that of RUN, and recommend one to start from."""
    from tuningfork.cli.similarity import print_similar

    print_similar(run_path(run_name, library), runs, as_json=as_json)
