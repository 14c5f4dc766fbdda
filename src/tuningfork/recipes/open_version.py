"""The way back from a library: a version as a run folder, which everything that takes a run accepts."""

import os
import shutil
from pathlib import Path
from uuid import uuid4

from tuningfork.data.hashing import hash_file
from tuningfork.errors import LibraryError, RunError
from tuningfork.library.contents import VersionRecord
from tuningfork.library.places import LibraryPlace
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.sign_in import sign_in
from tuningfork.library.store import Library
from tuningfork.recipes.register import RUN_FILE


def open_version(library: Library, reference: str, folder: Path | None = None) -> RunFolder:
    """The version that `reference` names now, as a run that answers exactly as the one it was made of.

    It is checked out into a folder of its own in `folder`, named by its content, by default in the user's
    cache; what lies there already is compared with its hashes and, if it is not the version, replaced.

    Raises:
        LibraryError: if there is no such version, it was revoked, it cannot be run, or a file of it is
            missing or damaged.
    """
    version = library.get(reference)
    if version.revoked is not None:
        raise LibraryError(
            f"{version.reference}: was revoked at {version.revoked[:16]}; choose another version of "
            f"{version.prompt}"
        )
    if RUN_FILE not in version.content.files:
        raise LibraryError(
            f"{version.reference}: has no {RUN_FILE}, so it cannot be run here; register it with a task: "
            "tuningfork library register TASK_FILE"
        )
    target = (folder or cache_folder()) / version.content_hash
    if not _is_whole(version, target):
        _check_out(library, version, target)
    return RunFolder.open(target)


def check_out_to(library: Library, version: VersionRecord, folder: Path) -> None:
    """Write the files of a version into a new folder, whole or not at all.

    Raises:
        LibraryError: if there is something at `folder`, it cannot be written, or a file of the version is
            missing or damaged.
    """
    if folder.exists():
        raise LibraryError(f"{folder}: exists already; name another folder, or remove it")
    _check_out(library, version, folder)


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


def cache_folder() -> Path:
    """Where versions are checked out to if nothing else is said."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "tuningfork" / "versions"


def _is_whole(version: VersionRecord, folder: Path) -> bool:
    """Whether exactly the files of `version` lie in `folder`, byte for byte."""
    if not folder.is_dir() or folder.is_symlink():
        return False
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if not path.is_dir()}
    if found.keys() != version.content.files.keys():
        return False
    # A link may lead anywhere, and elsewhere tomorrow.
    if any(path.is_symlink() for path in folder.rglob("*")):
        return False
    return all(hash_file(path) == version.content.files[name] for name, path in found.items())


def _check_out(library: Library, version: VersionRecord, target: Path) -> None:
    """Write the version to `target`, whole or not at all."""
    made = target.with_name(f".{target.name}.{uuid4().hex}")
    try:
        library.check_out(version, made)
        _remove(target)
        try:
            made.rename(target)
        except OSError:
            # Another process was faster; what it wrote is the same.
            if not _is_whole(version, target):
                raise
    except OSError as error:
        raise LibraryError(
            f"{version.reference}: cannot be checked out to {target} ({error.strerror or error})"
        ) from error
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
