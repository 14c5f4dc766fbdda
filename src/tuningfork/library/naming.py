"""Names of prompts, versions and aliases, as they are written: `team/reply`, `reply@3`, `reply@staging`."""

import re
import unicodedata
from dataclasses import dataclass

from tuningfork.errors import LibraryError

PRODUCTION, LATEST = "production", "latest"
"""What the bare name of a prompt means, and the newest version, which no gate has passed."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*")
_ALIAS = re.compile(r"[a-z][a-z0-9._-]*")
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Reference:
    """A prompt, and which of its versions: a number, or an alias."""

    name: str
    number: int | None = None
    alias: str | None = None

    def __str__(self) -> str:
        return f"{self.name}@{self.number if self.alias is None else self.alias}"


def read_reference(text: str) -> Reference:
    """The reference that `text` writes down; a bare name means `production`.

    Raises:
        LibraryError: if it is none.
    """
    name, at, version = text.partition("@")
    check_name(name)
    if not at:
        return Reference(name, alias=PRODUCTION)
    if version.isdecimal() and int(version) > 0:
        return Reference(name, number=int(version))
    if version != LATEST:
        check_alias(version)
    return Reference(name, alias=version)


def name_in(target: str) -> str:
    """The name of the prompt in `shop/reply` or `shop/reply@3`."""
    return target.partition("@")[0]


def check_name(name: str) -> None:
    """Check that `name` can be that of a prompt.

    Raises:
        LibraryError: if it cannot.
    """
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise LibraryError(
            f"{name!r:.80}: a prompt's name has small letters, digits, '.', '_' and '-', with '/' between "
            f"folders, at most {_LONGEST} characters, such as shop/ticket-routing"
        )


def name_from(text: str) -> str:
    """A name for a prompt that reads like `text`, which may be any."""
    plain = unicodedata.normalize("NFKD", text).casefold().encode("ascii", "ignore").decode()
    parts = (re.sub(r"[^a-z0-9._-]+", "-", part).strip("-._") for part in plain.split("/"))
    # Cut last, and cleaned again where the cut left a mark at the end.
    return "/".join(part for part in parts if part)[:_LONGEST].rstrip("-._/") or "prompt"


def check_alias(alias: str) -> None:
    """Check that `alias` can be moved by people.

    Raises:
        LibraryError: if it cannot; `latest` moves by itself.
    """
    if alias == LATEST:
        raise LibraryError("latest is always the newest version and cannot be moved; choose another alias")
    if not _ALIAS.fullmatch(alias) or len(alias) > _LONGEST:
        raise LibraryError(
            f"{alias!r:.80}: an alias begins with a small letter and has small letters, digits, '.', '_' and "
            "'-', such as production or staging"
        )


def folder_of(name: str) -> str:
    """The folder that a prompt lies in, with a / behind it; empty at the top."""
    folder, slash, _ = name.rpartition("/")
    return f"{folder}/" if slash else ""
