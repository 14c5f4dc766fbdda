"""Files that a command is to write, looked at before the work that fills them."""

import os
from pathlib import Path

from tuningfork.errors import DataError


def check_can_be_written(file: Path) -> None:
    """Check that `file` can be made or replaced, as far as that can be seen beforehand.

    Raises:
        DataError: It is a folder, or its folder cannot be made or written to.
    """
    if file.is_dir():
        raise DataError(f"{file}: expected the name of a file to write, found a folder; name a file in it")
    folder = file.absolute().parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise DataError(f"{file}: cannot be written: {folder} is a file, not a folder; name another place")
    if not os.access(folder, os.W_OK):
        raise DataError(f"{file}: cannot be written: {folder} may only be read; name another place")
