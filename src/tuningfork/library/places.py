"""Where a library lies: what is asked for, what the environment says, or beside the runs."""

import os
from dataclasses import dataclass
from pathlib import Path

from tuningfork.errors import LibraryError
from tuningfork.library.access import Access
from tuningfork.library.database import database_url, shown_url
from tuningfork.library.store import Library

LIBRARY_VARIABLE, ARTIFACTS_VARIABLE = "TUNINGFORK_LIBRARY", "TUNINGFORK_ARTIFACTS"
LIBRARY_FOLDER = "library"


@dataclass(frozen=True, slots=True)
class LibraryPlace:
    """A library that may not be there yet."""

    library: str
    """A folder, or the URL of a database."""
    artifacts: str | None = None
    """Folder or URL of the bytes; None is beside the database of a folder."""

    @classmethod
    def of(
        cls, library: str | None = None, artifacts: str | None = None, *, runs: Path = Path("runs")
    ) -> "LibraryPlace":
        """What is given, else what the environment names, else the folder `library` beside the runs'."""
        beside = Path(os.path.relpath(runs.absolute().parent / LIBRARY_FOLDER))
        return cls(
            library or os.environ.get(LIBRARY_VARIABLE) or str(beside),
            artifacts or os.environ.get(ARTIFACTS_VARIABLE) or None,
        )

    def __str__(self) -> str:
        """As it may be printed: without a password."""
        return shown_url(database_url(self.library)) if "://" in self.library else self.library

    @property
    def exists(self) -> bool:
        """Whether a library is there; of a database on a server, only opening it tells."""
        url = database_url(self.library)
        return url.drivername != "sqlite" or Path(str(url.database)).is_file()

    def open(self, *, access: Access | None = None) -> Library:
        """The library, made if it is not there.

        Raises:
            LibraryError: if it cannot be opened.
        """
        return Library(self.library, artifacts=self.artifacts, access=access)

    def open_existing(self, *, access: Access | None = None) -> Library:
        """The library.

        Raises:
            LibraryError: if there is none, or it cannot be opened.
        """
        if not self.exists:
            raise LibraryError(
                f"{self}: there is no library here; name one with --library or {LIBRARY_VARIABLE}, or make "
                "one: tuningfork library register RUN"
            )
        return self.open(access=access)
