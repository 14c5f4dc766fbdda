"""Bytes kept by their hash, in a folder or behind a URL; what has a name here is whole."""

import hashlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import fsspec
from fsspec.core import url_to_fs

from tuningfork.atomic import replacing
from tuningfork.errors import LibraryError, MissingDependencyError
from tuningfork.library.canonical import hash_bytes

_SHA256 = re.compile(r"[0-9a-f]{64}")
_CHUNK = 2**20
_OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "az"})
_FRESH_SECONDS = 600
"""What was written longer ago is written again, so that nobody takes it for garbage of long ago."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What lies under a name."""

    sha256: str
    num_bytes: int


class ArtifactStore(Protocol):
    """Keeps bytes under their SHA-256."""

    @property
    def place(self) -> str:
        """Where it is, as it may be printed."""

    def put(self, content: bytes) -> str:
        """Keep `content`, if it is not kept yet; return its hash. Either way it was written just now.

        Raises:
            LibraryError: if it cannot be written; nothing is left under its name then.
        """

    def get(self, sha256: str) -> bytes:
        """The bytes with this hash, checked.

        Raises:
            LibraryError: if they are missing, or are not what was kept.
        """

    def has(self, sha256: str) -> bool:
        """Whether something lies under this hash."""

    def remove(self, sha256: str) -> None:
        """Forget the bytes with this hash, if they are there."""

    def hashes(self) -> Iterator[tuple[str, float]]:
        """Every hash there is, with when it was written, in seconds since 1970."""

    def written(self, sha256: str) -> float | None:
        """When the bytes with this hash were written, in seconds since 1970; None if they are not there."""

    def measure(self, sha256: str) -> Measured | None:
        """Size and hash of what lies under this name, read in pieces; None if nothing does.

        Raises:
            LibraryError: if it cannot be read.
        """

    def remove_unfinished(self, before: float, *, only_count: bool = False) -> int:
        """Remove, or count, what writers that were killed left behind before this moment."""


def open_artifacts(place: str | Path) -> ArtifactStore:
    """The store in a folder, or behind a URL that fsspec knows (`s3://bucket/folder`).

    Raises:
        LibraryError: if the kind of URL is unknown.
        MissingDependencyError: if it needs a package that is not installed.
    """
    if isinstance(place, Path) or "://" not in place:
        return FolderStore(Path(place))
    if place.startswith("file://"):
        return FolderStore(Path(place.removeprefix("file://")))
    try:
        return RemoteStore(place)
    except ImportError as error:
        raise MissingDependencyError("s3fs", "s3", f"artifacts at {place.partition('://')[0]}://") from error
    except ValueError as error:
        raise LibraryError(f"{place}: no place for artifacts ({error})") from error


class FolderStore:
    """A folder: `ab/abcd...`, each file flushed and renamed to its name when it is whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()

    @property
    def place(self) -> str:
        """The folder."""
        return str(self._folder)

    def put(self, content: bytes) -> str:
        """Keep `content` under its hash; what lies there damaged is replaced.

        Raises:
            LibraryError: if it cannot be written.
        """
        sha256 = hash_bytes(content)
        path = self._path(sha256)
        try:
            if not (path.is_file() and path.stat().st_size == len(content) and _hash_file(path) == sha256):
                is_new_folder = not path.parent.is_dir()
                with replacing(path) as temporary:
                    temporary.write_bytes(content)
                _flush_folder(path.parent)
                if is_new_folder:
                    _flush_folder(path.parent.parent)
            else:
                os.utime(path)
        except OSError as error:
            raise LibraryError(
                f"{self.place}: an artifact of {len(content)} bytes cannot be written "
                f"({error.strerror or error}); nothing was registered: make room or give write access, and "
                "do it again"
            ) from error
        return sha256

    def get(self, sha256: str) -> bytes:
        """The bytes with this hash, checked.

        Raises:
            LibraryError: if they are missing or damaged.
        """
        try:
            content = self._path(sha256).read_bytes()
        except OSError as error:
            raise _missing(self.place, sha256, error) from error
        return _checked(self.place, sha256, content)

    def has(self, sha256: str) -> bool:
        """Whether a file has this hash as its name."""
        return self._path(sha256).is_file()

    def remove(self, sha256: str) -> None:
        """Remove the file with this name."""
        self._path(sha256).unlink(missing_ok=True)

    def hashes(self) -> Iterator[tuple[str, float]]:
        """Every file whose name is a hash; unfinished ones have none."""
        for path in self._folder.glob("??/*"):
            if _SHA256.fullmatch(path.name) and (when := _modified(path)) is not None:
                yield path.name, when

    def written(self, sha256: str) -> float | None:
        """When the file with this name was written."""
        return _modified(self._path(sha256))

    def measure(self, sha256: str) -> Measured | None:
        """Size and hash of the file with this name.

        Raises:
            LibraryError: if it cannot be read.
        """
        path = self._path(sha256)
        try:
            return Measured(_hash_file(path), path.stat().st_size)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _missing(self.place, sha256, error) from error

    def remove_unfinished(self, before: float, *, only_count: bool = False) -> int:
        """Remove the temporary files of writers that were killed."""
        count = 0
        for path in self._folder.glob("??/.*.part"):
            if (when := _modified(path)) is not None and when < before:
                count += 1
                if not only_count:
                    path.unlink(missing_ok=True)
        return count

    def _path(self, sha256: str) -> Path:
        _check_hash(sha256)
        return self._folder / sha256[:2] / sha256


class RemoteStore:
    """A place behind an fsspec URL, such as a bucket, where writing an object is atomic."""

    def __init__(self, url: str) -> None:
        # What another process wrote or removed meanwhile must be seen.
        filesystem, root = url_to_fs(url, use_listings_cache=False)
        self._files: fsspec.AbstractFileSystem = filesystem
        self._root = PurePosixPath(root)
        self._url = url
        # Making the folder of an object would make a bucket that was misspelt.
        self._has_folders = _OBJECT_STORES.isdisjoint(
            [filesystem.protocol] if isinstance(filesystem.protocol, str) else filesystem.protocol
        )

    @property
    def place(self) -> str:
        """The URL."""
        return self._url

    def put(self, content: bytes) -> str:
        """Keep `content` under its hash.

        Raises:
            LibraryError: if it cannot be written.
        """
        sha256 = hash_bytes(content)
        path = self._path(sha256)
        try:
            with self._reached():
                if not self._is_fresh(path, len(content)):
                    if self._has_folders:
                        self._files.makedirs(os.path.dirname(path), exist_ok=True)
                    self._files.pipe_file(path, content)
        except OSError as error:
            raise LibraryError(
                f"{self.place}: an artifact of {len(content)} bytes cannot be written ({error}); nothing was "
                "registered"
            ) from error
        return sha256

    def get(self, sha256: str) -> bytes:
        """The bytes with this hash, checked.

        Raises:
            LibraryError: if they are missing or damaged.
        """
        path = self._path(sha256)
        try:
            with self._reached():
                content: bytes = self._files.cat_file(path)
        except OSError as error:
            raise _missing(self.place, sha256, error) from error
        return _checked(self.place, sha256, content)

    def has(self, sha256: str) -> bool:
        """Whether there is an object of this name."""
        path = self._path(sha256)
        with self._reached():
            return bool(self._files.exists(path))

    def remove(self, sha256: str) -> None:
        """Remove the object of this name."""
        if self.has(sha256):
            with self._reached():
                self._files.rm_file(self._path(sha256))

    def hashes(self) -> Iterator[tuple[str, float]]:
        """Every object whose name is a hash."""
        with self._reached():
            if not self._files.exists(str(self._root)):
                return
            found: dict[str, dict[str, Any]] = self._files.find(str(self._root), detail=True)
        for path, details in found.items():
            name = PurePosixPath(path).name
            if _SHA256.fullmatch(name):
                yield name, self._written(path, details)

    def written(self, sha256: str) -> float | None:
        """When the object of this name was written."""
        path = self._path(sha256)
        try:
            with self._reached():
                return self._written(path, self._files.info(path))
        except FileNotFoundError:
            return None

    def measure(self, sha256: str) -> Measured | None:
        """Size and hash of the object of this name.

        Raises:
            LibraryError: if it cannot be read.
        """
        digest, num_bytes, path = hashlib.sha256(), 0, self._path(sha256)
        try:
            with self._reached(), self._files.open(path, "rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
                    num_bytes += len(chunk)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _missing(self.place, sha256, error) from error
        return Measured(digest.hexdigest(), num_bytes)

    def remove_unfinished(self, before: float, *, only_count: bool = False) -> int:
        """Nothing is ever there: an object appears when it is whole."""
        return 0

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Within this, whatever the package that speaks to the place raises is an OSError or one line.

        Each has errors of its own for a server that is not there, or a login that is missing.
        """
        try:
            yield
        except (OSError, LibraryError):
            raise
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise LibraryError(
                f"{self.place}: cannot be used ({reason}); check the address, the network, and that you may"
            ) from error

    def _is_fresh(self, path: str, num_bytes: int) -> bool:
        try:
            details = self._files.info(path)
        except FileNotFoundError:
            return False
        is_young = time.time() - self._written(path, details) < _FRESH_SECONDS
        return is_young and int(details["size"]) == num_bytes

    def _written(self, path: str, details: dict[str, Any]) -> float:
        when = details.get("LastModified") or details.get("created") or self._files.modified(path)
        return float(when if isinstance(when, int | float) else when.timestamp())

    def _path(self, sha256: str) -> str:
        _check_hash(sha256)
        return str(self._root / sha256[:2] / sha256)


def _modified(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        # Whoever collects garbage at the same time was faster.
        return None


def _hash_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _flush_folder(folder: Path) -> None:
    """Have the new name itself survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_hash(sha256: str) -> None:
    # A hash becomes a path: nothing else may.
    if not _SHA256.fullmatch(sha256):
        raise LibraryError(f"{sha256!r:.80} is no SHA-256")


def _checked(place: str, sha256: str, content: bytes) -> bytes:
    if (found := hash_bytes(content)) != sha256:
        raise LibraryError(
            f"{place}: artifact {sha256[:12]} is damaged or was changed (its SHA-256 is now {found[:12]}); "
            "see: tuningfork library verify"
        )
    return content


def _missing(place: str, sha256: str, error: OSError) -> LibraryError:
    return LibraryError(
        f"{place}: artifact {sha256[:12]} cannot be read ({error.strerror or error}); see: "
        "tuningfork library verify"
    )
