"""Files of prompts on the Hugging Face Hub: of a bundle or a PEFT folder, by their known names, by commit.

Nothing else in a repository is looked at, and no code in it is ever run.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tuningfork.errors import ConflictError, FormatError, LibraryError, RemoteError

BUNDLE_NAME = "prompt.tfb"
_PEFT_FILES = ("adapter_config.json", "adapter_model.safetensors", "README.md")
KNOWN = (BUNDLE_NAME, *(f"{half}{name}" for half in ("", "prompt/", "adapter/") for name in _PEFT_FILES))
"""All names that are ever read or written."""
_MOST_BYTES = 2**31
_LONGEST_EXCERPT = 200


@dataclass(frozen=True, slots=True)
class HubFiles:
    """What a repository holds of a prompt at one commit."""

    repository: str
    commit: str
    sizes: Mapping[str, int]
    """Bytes of each file by its name; only those with known names."""

    @property
    def reference(self) -> str:
        """How it is named for good."""
        return f"{self.repository}@{self.commit}"


class HubRepository:
    """A model repository on the Hub, or on whatever `HF_ENDPOINT` or `endpoint` names."""

    kind = "hub"

    def __init__(self, repository: str, *, endpoint: str | None = None) -> None:
        self.name = repository
        self._api = HfApi(endpoint=endpoint, library_name="tuningfork")

    @property
    def place(self) -> str:
        """The address of the Hub."""
        return str(self._api.endpoint)

    def files(self, revision: str | None = None) -> HubFiles:
        """The files with known names at `revision`: a branch, a tag or a commit; by default the main branch.

        Raises:
            RemoteError: if the Hub cannot be asked.
            LibraryError: if there is no such repository or revision.
            FormatError: if a file is too large.
        """
        with self._told(revision):
            info = self._api.model_info(self.name, revision=revision, files_metadata=True)
        if not info.sha:
            raise RemoteError(f"{self.name}: the Hub names no commit")
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or [] if file.rfilename in KNOWN}
        if sum(sizes.values()) > _MOST_BYTES:
            raise FormatError(f"{self.name}: its files are more than {_MOST_BYTES // 2**30} GiB")
        return HubFiles(self.name, info.sha, sizes)

    def download(self, files: HubFiles, folder: Path) -> None:
        """Write `files` into `folder`, as they were at their commit.

        Raises:
            RemoteError: if the Hub cannot be asked.
            FormatError: if a file has another size than was stated.
        """
        for name, size in files.sizes.items():
            with self._told(files.commit):
                path = Path(
                    self._api.hf_hub_download(
                        self.name, name, revision=files.commit, local_dir=folder, force_download=True
                    )
                )
            if path.stat().st_size != size:
                raise FormatError(
                    f"{files.reference}: {name} has {path.stat().st_size} bytes, and {size} were stated"
                )

    def upload(
        self, folder: Path, *, message: str, is_public: bool = False, dry_run: bool = False
    ) -> HubFiles:
        """Add the files in `folder` in one commit; a repository that is not there is made, and is private.

        In a dry run nothing is sent, and the commit is the one that is newest now, or empty.

        Raises:
            RemoteError: if the Hub cannot be asked, or refuses them.
            ConflictError: if somebody else committed meanwhile.
            FormatError: if there are files with other names.
        """
        paths = {
            path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()
        }
        if strange := sorted(set(paths) - set(KNOWN)):
            raise FormatError(f"{strange[0]}: no file of a bundle or a PEFT folder, so it is not sent")
        sizes = {name: path.stat().st_size for name, path in paths.items()}
        newest = self._newest()
        if dry_run:
            return HubFiles(self.name, newest or "", sizes)
        with self._told(None):
            if newest is None:
                self._api.create_repo(self.name, private=not is_public, exist_ok=True)
            try:
                made = self._api.create_commit(
                    self.name,
                    [CommitOperationAdd(name, str(path)) for name, path in paths.items()],
                    commit_message=message,
                    parent_commit=newest,
                )
            except HfHubHTTPError as error:
                if error.response.status_code in (409, 412):
                    raise ConflictError(
                        f"{self.name}: somebody else committed meanwhile; look at it, then push again"
                    ) from None
                raise
        return HubFiles(self.name, made.oid, sizes)

    def _newest(self) -> str | None:
        try:
            return self.files().commit
        except _NoRepositoryError:
            return None

    @contextmanager
    def _told(self, revision: str | None) -> Iterator[None]:
        """Errors of the client in one line, without the request, which holds the token."""
        try:
            yield
        except RepositoryNotFoundError:
            raise _NoRepositoryError(
                f"{self.name}: there is no such repository at {self.place}, or your token may not see it"
            ) from None
        except RevisionNotFoundError:
            raise LibraryError(f"{self.name}: has no revision {revision!r:.60} at {self.place}") from None
        except HfHubHTTPError as error:
            status = error.response.status_code
            reason = _one_line(error.server_message or "no reason given")
            raise RemoteError(f"{self.name}: {self.place} failed with status {status}: {reason}") from None
        except HFValidationError as error:
            raise LibraryError(f"{self.name}: no name of a repository ({_one_line(str(error))})") from None
        except (httpx2.HTTPError, OSError) as error:
            reason = _one_line(str(error)) or type(error).__name__
            raise RemoteError(f"{self.name}: {self.place} cannot be reached ({reason})") from None
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            # What the client makes of an answer that is not one of the Hub, or of a download that failed.
            cause = error.__cause__ or error
            reason = _one_line(str(cause)) or type(cause).__name__
            is_network = isinstance(cause, httpx2.HTTPError | OSError)
            what = "cannot be reached" if is_network else "answers what cannot be read"
            raise RemoteError(f"{self.name}: {self.place} {what} ({reason})") from None


class _NoRepositoryError(LibraryError):
    """There is none, or it may not be seen."""


def split_repository(text: str) -> tuple[str, str | None]:
    """Repository and revision of `owner/name@revision`."""
    name, _, revision = text.partition("@")
    return name, revision or None


def _one_line(text: str) -> str:
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _LONGEST_EXCERPT else line[: _LONGEST_EXCERPT - 3] + "..."
