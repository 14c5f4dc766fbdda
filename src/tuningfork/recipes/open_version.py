"""The way back from a library: a version as a run folder, which everything that takes a run accepts."""

from pathlib import Path

from tuningfork.errors import LibraryError, RunError
from tuningfork.library.checked_out import cache_folder as cache_folder
from tuningfork.library.checked_out import check_out_to as check_out_to
from tuningfork.library.checked_out import open_version as open_version
from tuningfork.library.places import LibraryPlace
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.sign_in import sign_in


def find_run(run: str | Path, place: LibraryPlace | None = None) -> RunFolder:
    """The run at a path or, where nothing lies there, the version that a text such as `shop/reply@3` names.

    A `Path` is never a name. Without `place`, the library is the one that the environment names, or the
    folder `library`.

    Raises:
        RunError: if there is neither.
        LibraryError: if there is such a version, but it cannot be used.
    """
    path, place = Path(run), place or LibraryPlace.of()
    try:
        return RunFolder.open(path)
    except RunError as error:
        if isinstance(run, Path) or path.exists():
            raise
        no_run = str(error)
    if not place.exists:
        raise RunError(f"{no_run}; and there is no library at {place} that could hold a prompt of this name")
    with sign_in(place.open()) as library:
        try:
            library.get(run)
        except LibraryError as error:
            raise RunError(f"{no_run}; nor is it a prompt of the library at {place}: {error}") from error
        return open_version(library, run)
