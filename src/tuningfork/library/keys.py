"""Keys: secrets by which programs come in as a person, and may do what the key is for and the person may."""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hmac import compare_digest
from typing import Any

from sqlalchemy import Connection, Engine, Row, insert, or_, select, update

from tuningfork.errors import AccessError, LibraryError
from tuningfork.library import schema
from tuningfork.library.access import Access, find_standing
from tuningfork.library.actors import Actor, acting_in
from tuningfork.library.canonical import hash_bytes, now
from tuningfork.library.chain import append_event
from tuningfork.library.database import lock_rows, reading, writing
from tuningfork.library.people import add_person, find_person
from tuningfork.library.run_records import Record
from tuningfork.library.scopes import EVERYTHING, read_scope

CREATED, REVOKED = "key created", "key revoked"
_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
_PREFIX_LETTERS, _SECRET_BYTES = 8, 32
_PREFIX = re.compile(rf"tf_[{_LETTERS}]{{{_PREFIX_LETTERS}}}")
_KEY = re.compile(rf"({_PREFIX.pattern})_[A-Za-z0-9_-]{{43}}")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_USE_IS_NOTED_AFTER = timedelta(minutes=1)
_UNKNOWN = "this key is not one of this library's; ask an admin for one, or unset TUNINGFORK_KEY"


class KeyRecord(Record):
    """A key as everybody may see it: without the secret."""

    prefix: str
    """Its first characters, which tell it from others."""
    name: str
    """What it is for, in a word."""
    person: str
    scopes: tuple[str, ...]
    created: str
    expires: str | None
    revoked: str | None = None
    last_used: str | None = None
    """At most a minute ago, when it was used since."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made."""

    secret: str = field(repr=False)
    """To be handed over now: only its hash is kept."""
    record: KeyRecord


class Keys:
    """The keys of a library; every method that changes something is one transaction."""

    def __init__(self, engine: Engine, access: Access) -> None:
        """Keys of the database `engine`, where `access` says who may manage those of others."""
        self._engine = engine
        self._access = access

    def create(
        self, person: str, *, name: str, scopes: Sequence[str], expires: str | None, actor: str
    ) -> NewKey:
        """Make a key of `person` for `scopes`, until the moment `expires` or for good.

        People make keys of their own; those of others, and any by means of a key, an admin makes.

        Raises:
            LibraryError: if there is no such person, a scope is none, or `expires` is over.
            AccessError: if `actor` may not make it.
        """
        if not _NAME.fullmatch(name):
            # What was given may be a key: it is not repeated.
            raise LibraryError(
                "a key's name has small letters, digits, '.', '_' and '-', at most 64, such as ci"
            )
        read = tuple(str(read_scope(scope)) for scope in dict.fromkeys(scopes))
        if not read:
            raise LibraryError("a key is for something: --scope read:shop/*@production")
        if expires is not None and expires <= now():
            raise LibraryError(f"a key that expired at {expires[:16]} is none; name a later time")
        with writing(self._engine) as connection:
            lock_rows(connection)
            self._check_manages(connection, actor, person)
            return _create(connection, person, name, read, expires=expires, actor=actor)

    def create_person(self, person: str, role: str, *, actor: str) -> NewKey:
        """Add somebody, and make a key for all that they may do; or neither.

        So the first admin of a library need not be a user of this computer.

        Raises:
            LibraryError: if the person cannot be added.
            AccessError: if `actor` may not administer the library.
        """
        with writing(self._engine) as connection:
            lock_rows(connection)
            self._access.check(connection, actor, "administer", "")
            add_person(connection, person, role, actor=actor)
            return _create(connection, person, "first", (str(EVERYTHING),), expires=None, actor=actor)

    def all(self, person: str | None = None, *, actor: str) -> list[KeyRecord]:
        """The keys of somebody or, for an admin, of everybody, the oldest first.

        Raises:
            LibraryError: if there is no such person.
            AccessError: if `actor` may not see them.
        """
        columns = schema.api_key.c
        with reading(self._engine) as connection:
            self._check_manages(connection, actor, person)
            wanted = _keys().order_by(columns.id)
            if person is not None:
                wanted = wanted.where(columns.person_id == find_person(connection, person).id)
            return [_record(row) for row in connection.execute(wanted)]

    def revoke(self, prefix: str, *, actor: str, reason: str = "") -> KeyRecord:
        """End a key for good.

        Raises:
            LibraryError: if there is none that begins so.
            AccessError: if `actor` may not do it.
        """
        if not _PREFIX.fullmatch(prefix):
            # What was given may be a whole key: it is not repeated.
            raise LibraryError(
                "a key is named by its first 11 characters, such as tf_abcdefgh; see: tuningfork library key "
                "list"
            )
        columns = schema.api_key.c
        with writing(self._engine) as connection:
            lock_rows(connection)
            found = connection.execute(_keys().where(columns.prefix == prefix)).first()
            # Whether it exists is nobody's business who could not revoke it.
            self._check_manages(connection, actor, None if found is None else found.person)
            if found is None:
                raise LibraryError(f"{prefix}: there is no such key; see: tuningfork library key list")
            if found.revoked is not None:
                return _record(found)
            when = now()
            connection.execute(update(schema.api_key).where(columns.id == found.id).values(revoked=when))
            payload = {"prefix": prefix, "person": found.person, "reason": reason, "revoked": when}
            append_event(connection, REVOKED, actor, payload)
            return _record(found).model_copy(update={"revoked": when})

    def authenticate(self, key: str) -> Actor:
        """Whose key this is, if it may be used now; `Library.acting` takes the answer.

        That it was used is noted, at most once a minute.

        Raises:
            AccessError: if it is no key, was revoked, has expired, or its person was disabled.
        """
        match = _KEY.fullmatch(key)
        if match is None:
            raise AccessError(_UNKNOWN)
        digest = hash_bytes(key.encode())
        with reading(self._engine) as connection:
            rows = connection.execute(_keys().where(schema.api_key.c.prefix == match[1])).all()
            # A prefix is no secret; how far a hash is right is not told by the time that it takes.
            found = next((row for row in rows if compare_digest(row.sha256, digest)), None)
            if found is None:
                raise AccessError(_UNKNOWN)
            actor = Actor(found.person, found.id, found.prefix)
            find_standing(connection, actor)
        self._note_use(found)
        return actor

    def _note_use(self, row: Row[Any]) -> None:
        columns = schema.api_key.c
        long_ago = (datetime.fromisoformat(now()) - _USE_IS_NOTED_AFTER).isoformat(timespec="microseconds")
        if row.last_used is not None and row.last_used > long_ago:
            return
        not_yet = or_(columns.last_used.is_(None), columns.last_used <= long_ago)
        try:
            with writing(self._engine) as connection:
                connection.execute(
                    update(schema.api_key).where(columns.id == row.id, not_yet).values(last_used=now())
                )
        except LibraryError:
            # A database that can only be read still lets in whoever has a key.
            return

    def _check_manages(self, connection: Connection, actor: str, person: str | None) -> None:
        """Check that `actor` may manage the keys of `person`, or of everybody."""
        acting = acting_in(connection) or Actor(actor)
        if person == actor == acting.name and acting.key_id is None:
            # A key cannot make another that may do more, even of the same person.
            find_standing(connection, acting)
            return
        self._access.check(connection, actor, "administer", "")


def read_expiry(text: str) -> str | None:
    """The moment that `text` means: `90d` or `12h` from now, a day such as 2027-01-31 (UTC), or `never`.

    Raises:
        LibraryError: if it means none, or one that is over.
    """
    if text == "never":
        return None
    try:
        if span := re.fullmatch(r"([1-9][0-9]{0,4})([dh])", text):
            unit = timedelta(days=1) if span[2] == "d" else timedelta(hours=1)
            moment = datetime.fromisoformat(now()) + int(span[1]) * unit
        else:
            moment = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise LibraryError(
            f"{text!a:.40}: a key expires after days or hours (90d, 12h), on a day (2027-01-31) or never"
        ) from None
    found = moment.isoformat(timespec="microseconds")
    if found <= now():
        raise LibraryError(f"{text}: is over; name a later day")
    return found


def _create(
    connection: Connection,
    person: str,
    name: str,
    scopes: tuple[str, ...],
    *,
    expires: str | None,
    actor: str,
) -> NewKey:
    row = find_person(connection, person)
    if row.disabled is not None:
        raise LibraryError(f"{person} was disabled at {row.disabled[:16]}, and gets no key")
    prefix = _new_prefix(connection)
    secret = f"{prefix}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    record = KeyRecord(prefix=prefix, name=name, person=person, scopes=scopes, created=now(), expires=expires)
    sha256 = hash_bytes(secret.encode())
    kept = record.model_dump(include={"prefix", "name", "created", "expires"})
    connection.execute(
        insert(schema.api_key).values(person_id=row.id, sha256=sha256, scopes=list(scopes), **kept)
    )
    payload = kept | {"person": person, "scopes": list(scopes), "sha256": sha256}
    append_event(connection, CREATED, actor, payload)
    return NewKey(secret, record)


def _keys() -> Any:
    return select(schema.api_key, schema.person.c.name.label("person")).join(schema.person)


def _record(row: Row[Any]) -> KeyRecord:
    fields = {name: getattr(row, name) for name in KeyRecord.model_fields}
    return KeyRecord.model_validate(fields | {"scopes": tuple(row.scopes)})


def _new_prefix(connection: Connection) -> str:
    """A prefix that no key has."""
    while True:
        prefix = "tf_" + "".join(secrets.choice(_LETTERS) for _ in range(_PREFIX_LETTERS))
        taken = select(schema.api_key.c.id).where(schema.api_key.c.prefix == prefix)
        if connection.execute(taken).first() is None:
            return prefix
