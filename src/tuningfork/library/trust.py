"""Whose signatures count in a library: keys that are trusted, as the chain of its events has it."""

from sqlalchemy import Connection

from tuningfork.errors import LibraryError
from tuningfork.library.chain import append_event, events
from tuningfork.library.exchange.keys import PublicKey, check_signer

TRUSTED, NOT_TRUSTED = "key trusted", "key no longer trusted"


def trusted_keys(connection: Connection) -> dict[str, PublicKey]:
    """The keys that are trusted now, by their text."""
    changes = [*events(connection, kind=TRUSTED), *events(connection, kind=NOT_TRUSTED)]
    found: dict[str, PublicKey] = {}
    for event in sorted(changes, key=lambda event: event.sequence):
        key = str(event.payload["key"])
        if event.kind == TRUSTED:
            found[key] = PublicKey(key, str(event.payload["name"]))
        else:
            found.pop(key, None)
    return found


def trust(connection: Connection, key: PublicKey, *, actor: str) -> None:
    """Trust `key` from now on, under its name.

    Raises:
        LibraryError: if it has no name.
        FormatError: if its name is none.
    """
    name = check_signer(key.name)
    if not name:
        raise LibraryError(f"{key.text}: whose key is it? Give it a name: --name NAME")
    known = trusted_keys(connection).get(key.text)
    if known is None or known.name != name:
        append_event(connection, TRUSTED, actor, {"key": key.text, "name": name})


def end_trust(connection: Connection, key: PublicKey, *, actor: str) -> None:
    """Trust `key` no longer; what was imported with it stays, and says so in its lineage.

    Raises:
        LibraryError: if it was not trusted.
    """
    known = trusted_keys(connection).get(key.text)
    if known is None:
        raise LibraryError(f"{key.text}: is not trusted here; see: tuningfork library trust")
    append_event(connection, NOT_TRUSTED, actor, {"key": key.text, "name": known.name})
