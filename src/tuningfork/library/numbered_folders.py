"""Folders that work is kept in: a name of their own for each, and files that can be read or say why not."""

import re
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from tuningfork.errors import RunError

R = TypeVar("R", bound=BaseModel)


def folder_name(name: str) -> str:
    """`name` without what the name of a folder cannot hold everywhere; empty if nothing is left."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.")


def new_folder(parent: Path, name: str, kind: str = "") -> Path:
    """Make a new, empty folder `<name>-<kind>-<number>` in `parent`; two processes never get the same."""
    stem = "-".join(filter(None, (folder_name(name) or ("task" if kind else "run"), kind)))
    parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        path = parent / f"{stem}-{number}"
        try:
            path.mkdir()
            return path
        except FileExistsError:
            number += 1


def read_record(path: Path, kind: type[R]) -> R:
    """What is written in `path`.

    Raises:
        RunError: if it cannot be read as such.
    """
    try:
        return kind.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise RunError(f"{path}: cannot be read ({reason})") from error
