"""What registries of text prompts have in common: words that come and go, and what is said of them."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from tuningfork.errors import ConflictError, FormatError, LibraryError
from tuningfork.library.annotations import check_tag
from tuningfork.library.contents import ImportOrigin, VersionRecord
from tuningfork.library.exchange.braces import ForeignWords

LATEST = "latest"
_LONGEST_MESSAGE = 10_000


@dataclass(frozen=True, slots=True)
class Pulled:
    """A version of a prompt from a registry."""

    name: str
    version: int
    words: ForeignWords
    origin: ImportOrigin
    message: str
    """What was said when it was made."""
    aliases: tuple[str, ...]
    """Names that point to it there; they are told, and move nothing here."""
    tags: tuple[str, ...]
    """As they can be here."""


@dataclass(frozen=True, slots=True)
class Push:
    """A version that is to go to a registry."""

    version: VersionRecord
    name: str
    """Of the prompt there."""
    tags: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    """To point to it there."""
    known_hashes: Collection[str] = ()
    known_references: Collection[str] = ()
    """Contents and places of versions that this library has: only behind one of these is another added."""
    overrides: bool = False
    """Whether it is added behind any."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """What became of it."""

    reference: str
    """What it is called there."""
    is_new: bool
    """False where the newest version there is this one already."""
    notes: tuple[str, ...] = ()


class Registry(Protocol):
    """Keeps versions of text prompts under names."""

    kind: str

    @property
    def place(self) -> str:
        """Where it is, as lineage names it."""

    def close(self) -> None:
        """Let go of the connection."""

    def pull(self, name: str, which: str, *, as_text: bool = False) -> Pulled:
        """The version `which` of the prompt `name`: a number, an alias, or `latest`.

        Raises:
            RemoteError: if the registry cannot be asked.
            LibraryError: if there is none.
            FormatError: if it is no prompt that can be read here.
        """

    def numbers(self, name: str) -> list[int]:
        """The versions that there are, the oldest first.

        Raises:
            RemoteError: if the registry cannot be asked.
            LibraryError: if there is no such prompt.
        """

    def push(self, push: Push, *, dry_run: bool = False) -> Pushed:
        """Add a version, unless the newest one is the same; in a dry run, only say what would come of it.

        Raises:
            RemoteError: if the registry cannot be asked, or refuses it.
            ConflictError: if the newest version there is none that this library knows.
            FormatError: if it cannot be written there.
        """


def split_reference(text: str) -> tuple[str, str]:
    """Name and version of `reply/3`, `team/reply@production` or `reply`, which means `latest`.

    Raises:
        LibraryError: if there is no name.
    """
    name, at, which = text.rpartition("@")
    if not at:
        name, _, which = text.rpartition("/")
        if not which.isdecimal() or not name:
            name, which = text, LATEST
    if not name or not which:
        raise LibraryError(f"{text!r:.80}: name a prompt there, such as reply, reply/3 or reply@production")
    return name, which


def check_known(push: Push, newest_reference: str, newest_hash: str) -> None:
    """Check that what is newest there is known here, so that nobody's work is passed over.

    Raises:
        ConflictError: if it is not.
    """
    if push.overrides or newest_hash in push.known_hashes or newest_reference in push.known_references:
        return
    raise ConflictError(
        f"{newest_reference}: somebody else made this newest version, and this library does not know it; "
        f"pull it first, or add {push.version.reference} behind it all the same: --force"
    )


def readable_tags(tags: Iterable[tuple[str, str]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Tags as they can be here, `key:value` or `key`, and a note on those that cannot."""
    kept, lost = [], []
    for key, value in tags:
        tag = f"{key}:{value}" if value and value != "true" else key
        try:
            check_tag(tag)
            kept.append(tag)
        except LibraryError:
            lost.append(tag[:40])
    note = (f"tags that cannot be written here were left out: {', '.join(lost)}",) if lost else ()
    return tuple(sorted(set(kept))), note


def text_field(found: dict[str, Any], name: str) -> str:
    """The text in a field that may be missing or null.

    Raises:
        FormatError: if it is something else, or too long.
    """
    value = found.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > _LONGEST_MESSAGE:
        raise FormatError(f"its {name} is no text of at most {_LONGEST_MESSAGE} characters")
    return value
