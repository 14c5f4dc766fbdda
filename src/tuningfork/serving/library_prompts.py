"""Prompts of a library as they are served: loaded when first asked for, and following where aliases point."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from tuningfork.errors import AccessError, LibraryError, TuningForkError
from tuningfork.library.checked_out import open_version
from tuningfork.library.contents import VersionRecord
from tuningfork.library.listing import Filter
from tuningfork.library.naming import PRODUCTION, Reference, check_name, read_reference
from tuningfork.library.store import Library
from tuningfork.serving.prompts import PromptLoader, ServedPrompt

_PAGE = 200
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which prompts of a library are served: those that one of `places` covers.

    A place is a prompt with all its versions (`shop/reply`), one version or alias (`shop/reply@beta`), all
    prompts of a folder (`shop/*`), or `*`.
    """

    places: tuple[str, ...] = ("*",)

    def __post_init__(self) -> None:
        for place in self.places:
            if "@" in place:
                read_reference(place)
            elif place != "*":
                check_name(place.removesuffix("/*"))

    def covers(self, wanted: Reference) -> bool:
        """Whether `wanted` is served."""
        return any(_covers(place, wanted) for place in self.places)


def _covers(place: str, wanted: Reference) -> bool:
    if "@" in place:
        return read_reference(place) == wanted
    if place.endswith("/*"):
        return wanted.name.startswith(place.removesuffix("*"))
    return place in ("*", wanted.name)


class LibraryPrompts:
    """The prompts of a library that `selection` covers, by reference.

    What a reference names is looked up when it is first asked for and again by `follow`; whoever holds a
    served prompt keeps it, wherever its alias points meanwhile. At most `most_kept` references and as many
    versions are kept, those that were asked for last.
    """

    def __init__(
        self,
        library: Library,
        loader: PromptLoader,
        selection: Selection | None = None,
        *,
        folder: Path | None = None,
        most_kept: int = 4096,
    ) -> None:
        """Serve from `library`; versions are checked out into `folder`, by default in the user's cache."""
        self.library = library
        self.selection = selection or Selection()
        self._loader = loader
        self._folder = folder
        self._most_kept = most_kept
        self._named: OrderedDict[Reference, ServedPrompt] = OrderedDict()
        self._versions: OrderedDict[str, ServedPrompt] = OrderedDict()
        self._lock = threading.Lock()
        self._loading = threading.Lock()
        self._head: str | None = None
        self._failed: set[str] = set()
        """Versions that could not be loaded the last time, of which the log has told."""

    def known(self, wanted: Reference) -> ServedPrompt | None:
        """What `wanted` named when it was last looked up; None if it never was. Takes no time."""
        with self._lock:
            found = self._named.get(wanted)
            if found is not None:
                self._named.move_to_end(wanted)
            return found

    def find(self, wanted: Reference) -> ServedPrompt:
        """What `wanted` names now, loaded if it was not.

        Raises:
            LibraryError: there is no such version, it was revoked, or cannot be read.
            ServingError: it is not served here, or cannot be.
        """
        if not self.selection.covers(wanted):
            raise LibraryError(f"{wanted}: is not served here")
        with self._loading:
            found = self._load(wanted)
        with self._lock:
            self._named[wanted] = found
            self._named.move_to_end(wanted)
            while len(self._named) > self._most_kept:
                self._named.popitem(last=False)
        return found

    def follow(self, *, always: bool = False) -> list[Reference]:
        """Look up again whatever was asked for, if anything happened in the library; return what changed.

        Where the version that a reference names now cannot be loaded, the one before goes on answering, the
        log says why, and it is tried again the next time. What names nothing any more is forgotten.

        Raises:
            LibraryError: the database cannot be used; everything stays as it was.
        """
        head = self._current_head()
        if not always and head is not None and head == self._head:
            return []
        with self._lock:
            before = dict(self._named)
        changed, failed = [], set()
        for wanted, old in before.items():
            version = self._looked_up(wanted)
            if version is None:
                self._forget(wanted)
                changed.append(wanted)
            elif version.reference != old.reference:
                try:
                    self.find(wanted)
                    changed.append(wanted)
                except TuningForkError as error:
                    failed.add(version.reference)
                    if version.reference not in self._failed:
                        _log.error(
                            "%s: cannot be loaded, so %s goes on answering: %s", wanted, old.reference, error
                        )
        self._failed = failed
        self._head = None if failed else head
        return changed

    def listed(self, view: Library | None = None) -> Sequence[tuple[str, str]]:
        """Names that can be asked for with what each names now, of those that `view` may read.

        Bare names of prompts in production, and what the selection names by an alias or a number.
        """
        library, found, last = view or self.library, [], None
        while page := library.prompts(Filter(alias=PRODUCTION), limit=_PAGE, after=last):
            last = page[-1].name
            for prompt in page:
                if self.selection.covers(Reference(prompt.name, alias=PRODUCTION)):
                    found.append((prompt.name, f"{prompt.name}@{prompt.aliases[PRODUCTION]}"))
        for place in self.selection.places:
            if "@" in place:
                try:
                    found.append((place, library.get(place).reference))
                except LibraryError:
                    continue
        return list(dict.fromkeys(found))

    def _load(self, wanted: Reference) -> ServedPrompt:
        while True:
            version = self.library.get(str(wanted))
            if version.revoked is not None:
                raise LibraryError(f"{version.reference}: was revoked at {version.revoked[:16]}")
            made = self._versions.get(version.reference) or self._made(wanted, version)
            if made is not None:
                break
        self._versions[version.reference] = made
        self._versions.move_to_end(version.reference)
        while len(self._versions) > self._most_kept:
            self._versions.popitem(last=False)
        return made

    def _made(self, wanted: Reference, version: VersionRecord) -> ServedPrompt | None:
        """The prompt of `version`, which `wanted` names; None if it names another one by now."""
        # Opened by the name that was asked for: the server's own key may be for this name alone.
        opened = open_version(self.library, str(wanted), self._folder)
        if opened.path.name != version.content_hash:
            return None
        # Two versions with one content have one key, so that what is computed for one serves the other.
        return self._loader.of_run(
            opened, name=version.prompt, reference=version.reference, key=("version", version.content_hash)
        )

    def _forget(self, wanted: Reference) -> None:
        with self._lock:
            self._named.pop(wanted, None)

    def _looked_up(self, wanted: Reference) -> VersionRecord | None:
        """The version that `wanted` names; None where it names none that may be used."""
        try:
            version = self.library.get(str(wanted))
        except LibraryError as error:
            if isinstance(error.__cause__, DBAPIError):
                # The database is away, which says nothing of the version.
                raise
            _log.warning("%s: is not served any more: %s", wanted, error)
            return None
        if version.revoked is not None:
            _log.warning("%s: is not served any more: it was revoked", version.reference)
            return None
        return version

    def _current_head(self) -> str | None:
        """The hash of the last event of the library; None where it may not be read."""
        try:
            return self.library.head()
        except AccessError:
            return None
