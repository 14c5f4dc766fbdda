"""`tuningfork show`."""

from pathlib import Path
from typing import Annotated

import typer

from tuningfork.cli.options import JsonOption


def show(
    run_path: Annotated[
        Path | None,
        typer.Argument(metavar="RUN", help="Folder of a run, or of a comparison. Default: list runs."),
    ] = None,
    runs: Annotated[Path, typer.Option("--runs", help="Folder that holds the runs.")] = Path("runs"),
    answers: Annotated[
        int, typer.Option("--answers", "-n", help="Test rows to print with their answers.", min=0)
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Show a run: its figures, candidates and answers; or a comparison; or list the runs there are."""
    from tuningfork.cli.showing import list_runs, show_folder

    if run_path is None:
        list_runs(runs, as_json=as_json)
    else:
        show_folder(run_path, answers=answers, as_json=as_json)
