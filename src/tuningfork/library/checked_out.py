"""Versions as folders: each is checked out under the hash of its content, and compared with it when used."""

import os
import shutil
from pathlib import Path
from uuid import uuid4

from tuningfork.data.hashing import hash_file
from tuningfork.errors import LibraryError
from tuningfork.library.contents import VersionRecord
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.store import Library

_RUN_FILE = "run.json"
"""What a version that can be run has."""


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
    if _RUN_FILE not in version.content.files:
        raise LibraryError(
            f"{version.reference}: has no {_RUN_FILE}, so it cannot be run here; register it with a task: "
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
