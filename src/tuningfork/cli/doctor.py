"""`tuningfork doctor`."""

from typing import Annotated

import typer

from tuningfork.cli.options import JsonOption


def doctor(
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Also load this model and say how it will be run.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what this machine has, what is missing, and how a model would be run."""
    from tuningfork.cli.examination import examine

    examine(model, as_json=as_json)
