"""What a command does when it is stopped by Ctrl-C."""

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
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


@contextmanager
def naming_how_to_resume(command: str, find_unfinished: Callable[[], list[Path]]) -> Iterator[None]:
    """On Ctrl-C, say how `command` goes on with what it cut off, and exit."""
    try:
        yield
    except KeyboardInterrupt:
        ways = [f"go on with: {command} --resume {shlex.quote(str(path))}" for path in find_unfinished()]
        typer.echo("; ".join(["Interrupted", *ways]), err=True)
        raise typer.Exit(_INTERRUPTED) from None
