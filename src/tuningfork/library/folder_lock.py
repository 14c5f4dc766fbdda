"""One process at a time in a folder."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tuningfork.errors import RunError

if sys.platform != "win32":
    import fcntl


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other processes that ask for it out of `folder` for as long as the block runs.

    The folder itself is locked: nothing is written, and the system lets go of it when the process ends,
    however it ends. Windows, and file systems without such locks, keep nobody out.

    Raises:
        RunError: Another process is in there.
    """
    with _opened(folder) as descriptor:
        if not _is_taken(descriptor):
            raise RunError(f"{folder}: another process is at work on it; wait until that ends, or stop it")
        yield


def is_held(folder: Path) -> bool:
    """Whether a process, this one too, is at work in `folder`."""
    with _opened(folder) as descriptor:
        return not _is_taken(descriptor)


@contextmanager
def _opened(folder: Path) -> Iterator[int | None]:
    """The folder, opened; what is locked is free again when it is closed."""
    if sys.platform == "win32":
        yield None
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _is_taken(descriptor: int | None) -> bool:
    """Take the lock; False if somebody has it."""
    if sys.platform == "win32" or descriptor is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
