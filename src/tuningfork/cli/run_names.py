"""Runs as commands are given them: a folder, or the name of a version in a library."""

from pathlib import Path


def run_path(run: str, library: str | None) -> Path:
    """The folder of the run that is named: itself, or that to which a version of a library is checked out.

    Raises:
        RunError: if there is neither such a folder nor such a version.
        LibraryError: if there is such a version, but it cannot be used.
    """
    path = Path(run)
    if path.exists():
        return path
    from tuningfork.library.places import LibraryPlace
    from tuningfork.recipes.open_version import find_run

    return find_run(run, LibraryPlace.of(library)).path
