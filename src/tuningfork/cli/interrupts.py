"""What a command does when it is stopped by Ctrl-C."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import typer

_INTERRUPTED = 130
"""Exit code of a process that was stopped by Ctrl-C: 128 and the signal's number."""


def telling_of_interrupts(command: Callable[..., None]) -> Callable[..., None]:
    """The same command, which says that it was stopped instead of printing where."""

    @wraps(command)
    def told(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except KeyboardInterrupt:
            typer.echo("Interrupted", err=True)
            raise typer.Exit(_INTERRUPTED) from None

    return told
