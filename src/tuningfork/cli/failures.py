"""What went wrong, as one line."""

import errno

import typer

from tuningfork.errors import TuningForkError

UNUSABLE = 2
"""Exit code of what checks prompts where nothing could be checked; 1 means that a prompt failed."""

_OF_THE_PLACE = frozenset(
    {
        errno.EACCES,
        errno.EDQUOT,
        errno.EEXIST,
        errno.EIO,
        errno.EISDIR,
        errno.ENAMETOOLONG,
        errno.ENOSPC,
        errno.ENOTDIR,
        errno.EPERM,
        errno.EROFS,
    }
)
"""What the system says where a file cannot be written: the user's to mend, and no fault of the program."""


def line_of(error: Exception) -> str | None:
    """What to tell of `error`; None if it is neither ours nor one of a place on disk."""
    if isinstance(error, TuningForkError):
        return str(error)
    if not isinstance(error, OSError) or error.errno not in _OF_THE_PLACE or not error.filename:
        return None
    # Of a file that is renamed, the second name is the one that the user gave.
    return (
        f"{error.filename2 or error.filename}: cannot be used ({error.strerror}); name another place, mend "
        "its permissions, or make room on the disk"
    )


def tell(line: str) -> None:
    """Print a line that says what went wrong."""
    typer.secho("Error: ", fg="red", bold=True, err=True, nl=False)
    typer.echo(line, err=True)
