"""`tuningfork lint`."""

from pathlib import Path
from typing import Annotated

import typer

from tuningfork.cli.options import JsonOption


def lint(
    task: Annotated[Path, typer.Argument(metavar="TASK", help="A task file, or a folder with a task.yaml.")],
    data: Annotated[
        bool,
        typer.Option("--data", help="Look at its rows too, as the model reads them."),
    ] = False,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Whose tokens and length count. With --data, default: bundled."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Look for what is likely to be wrong with a prompt; exit code 1 if there are errors."""
    from tuningfork.cli.linting import lint_and_print

    if lint_and_print(task, model=model or ("bundled" if data else None), reads_data=data, as_json=as_json):
        raise typer.Exit(1)
