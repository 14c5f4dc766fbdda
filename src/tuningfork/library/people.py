"""People of a library: who they are, their roles, and where those are others. Every change is an event."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

from pydantic import Field
from sqlalchemy import Connection, Engine, Row, delete, func, insert, select, update

from tuningfork.errors import LibraryError
from tuningfork.library import schema
from tuningfork.library.access import Access, has_people
from tuningfork.library.canonical import now
from tuningfork.library.chain import append_event
from tuningfork.library.database import lock_rows, reading, writing
from tuningfork.library.roles import Role, check_place, check_role
from tuningfork.library.run_records import Record

ADDED, ROLE_CHANGED = "person added", "role changed"
DISABLED, ENABLED = "person disabled", "person enabled"
PERMITTED, UNPERMITTED = "permission set", "permission withdrawn"
_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]*")
_LONGEST_NAME = 64


class Person(Record):
    """Somebody who is known to a library, or a service."""

    name: str
    role: Role
    """Where no permission says another."""
    created: str
    disabled: str | None = None
    permissions: dict[str, Role] = Field(default_factory=dict)
    """Folder (it ends in `/`) or prompt: the role there."""


class People:
    """The people of a library; every method that changes something is one transaction."""

    def __init__(self, engine: Engine, access: Access) -> None:
        """People of the database `engine`, where `access` says who may change them."""
        self._engine = engine
        self._access = access

    def exist(self) -> bool:
        """Whether anybody was ever added; before that the library is open."""
        with reading(self._engine) as connection:
            return has_people(connection)

    def all(self, *, actor: str) -> list[Person]:
        """Everybody by name, the disabled ones too.

        Raises:
            AccessError: if `actor` is nobody of the library.
        """
        with reading(self._engine) as connection:
            self._access.check(connection, actor, "read", "")
            return _people(connection)

    def add(self, name: str, role: str, *, actor: str) -> Person:
        """Add somebody; the first must be an admin, and ends that everybody may do everything.

        Raises:
            LibraryError: if the name is none, or is taken, be it by somebody who was disabled.
            AccessError: if `actor` may not administer the library.
        """
        with self._changing(actor) as connection:
            return add_person(connection, name, role, actor=actor)

    def change_role(self, name: str, role: str, *, actor: str) -> Person:
        """Give somebody another general role.

        Raises:
            LibraryError: if there is no such person or role, or nobody would be admin any more.
            AccessError: if `actor` may not administer the library.
        """
        check_role(role)
        with self._changing(actor) as connection:
            person = find_person(connection, name)
            if person.role == role:
                return _person(connection, name)
            if role != "admin":
                _check_admins(connection, person)
            _update(connection, person, role=role)
            return _changed(connection, ROLE_CHANGED, actor, name, {"before": person.role, "role": role})

    def disable(self, name: str, *, actor: str) -> Person:
        """Let somebody in no more, nor any key of theirs; their name stays theirs.

        Raises:
            LibraryError: if there is no such person, or nobody would be admin any more.
            AccessError: if `actor` may not administer the library.
        """
        with self._changing(actor) as connection:
            person = find_person(connection, name)
            if person.disabled is not None:
                return _person(connection, name)
            _check_admins(connection, person)
            when = now()
            _update(connection, person, disabled=when)
            return _changed(connection, DISABLED, actor, name, {"disabled": when})

    def enable(self, name: str, *, actor: str) -> Person:
        """Let somebody in again, with the role and the keys that they had.

        Raises:
            LibraryError: if there is no such person.
            AccessError: if `actor` may not administer the library.
        """
        with self._changing(actor) as connection:
            person = find_person(connection, name)
            if person.disabled is None:
                return _person(connection, name)
            _update(connection, person, disabled=None)
            return _changed(connection, ENABLED, actor, name, {})

    def permit(self, name: str, place: str, role: str, *, actor: str) -> Person:
        """Give somebody another role in a folder (`shop/`) or for a prompt; `none` keeps them out.

        Of several places around a prompt the nearest counts, whether its role is more or less.

        Raises:
            LibraryError: if there is no such person or role, or the place can be none.
            AccessError: if `actor` may not administer the library.
        """
        check_place(place)
        check_role(role)
        with self._changing(actor) as connection:
            person = find_person(connection, name)
            before = _permissions(connection, person.id).get(person.id, {}).get(place)
            if before == role:
                return _person(connection, name)
            _forget(connection, person, place)
            connection.execute(insert(schema.permission).values(person_id=person.id, place=place, role=role))
            payload = {"place": place, "before": before, "role": role}
            return _changed(connection, PERMITTED, actor, name, payload)

    def withdraw(self, name: str, place: str, *, actor: str) -> Person:
        """Take back what was said of a place: the role around it counts there again.

        Raises:
            LibraryError: if there is no such person, or nothing was said of the place.
            AccessError: if `actor` may not administer the library.
        """
        with self._changing(actor) as connection:
            person = find_person(connection, name)
            known = _permissions(connection, person.id).get(person.id, {})
            if place not in known:
                raise LibraryError(
                    f"{name}: has no role of their own at {place!r:.80}; there is one at "
                    f"{', '.join(known) or 'no place'}"
                )
            _forget(connection, person, place)
            return _changed(connection, UNPERMITTED, actor, name, {"place": place, "before": known[place]})

    @contextmanager
    def _changing(self, actor: str) -> Iterator[Connection]:
        """A transaction of somebody who may change people, and who is the only one that does."""
        with writing(self._engine) as connection:
            # Whoever is admin now is so until the transaction ends.
            lock_rows(connection)
            self._access.check(connection, actor, "administer", "")
            yield connection


def check_person_name(name: str) -> None:
    """Check that `name` can be that of a person or of a service.

    Raises:
        LibraryError: if it cannot.
    """
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise LibraryError(
            f"{name!a:.80}: a person's name has small letters (a to z), digits, '.', '_', '@' and '-', at "
            f"most {_LONGEST_NAME} characters, such as ann or ann@example.com"
        )


def add_person(connection: Connection, name: str, role: str, *, actor: str) -> Person:
    """Add somebody, in a transaction of whoever may.

    Raises:
        LibraryError: if the name is none or is taken, or this is the first person and no admin.
    """
    check_person_name(name)
    check_role(role)
    if role != "admin" and not has_people(connection):
        raise LibraryError(
            f"{name}: the first person of a library is its admin, found {role}; add one first: tuningfork "
            "library user add NAME --role admin"
        )
    if _find(connection, name) is not None:
        raise LibraryError(
            f"{name}: somebody is called so already; choose another name, or change the role: tuningfork "
            f"library user role {name} {role}"
        )
    connection.execute(insert(schema.person).values(name=name, role=role, created=now()))
    return _changed(connection, ADDED, actor, name, {"role": role})


def find_person(connection: Connection, name: str) -> Row[Any]:
    """The row of somebody.

    Raises:
        LibraryError: if there is nobody of this name.
    """
    found = _find(connection, name)
    if found is None:
        raise LibraryError(f"{name!a:.80}: there is no such person; see: tuningfork library user list")
    return found


def _find(connection: Connection, name: str) -> Row[Any] | None:
    return connection.execute(select(schema.person).where(schema.person.c.name == name)).first()


def _people(connection: Connection) -> list[Person]:
    permissions = _permissions(connection)
    rows = connection.execute(select(schema.person).order_by(schema.person.c.name))
    return [_as_person(row, permissions.get(row.id, {})) for row in rows]


def _person(connection: Connection, name: str) -> Person:
    row = find_person(connection, name)
    return _as_person(row, _permissions(connection, row.id).get(row.id, {}))


def _as_person(row: Row[Any], permissions: Mapping[str, Role]) -> Person:
    return Person(
        name=row.name,
        role=row.role,
        created=row.created,
        disabled=row.disabled,
        permissions=dict(permissions),
    )


def _permissions(connection: Connection, person_id: int | None = None) -> Mapping[int, dict[str, Role]]:
    wanted = select(schema.permission).order_by(schema.permission.c.place)
    if person_id is not None:
        wanted = wanted.where(schema.permission.c.person_id == person_id)
    found: dict[int, dict[str, Role]] = defaultdict(dict)
    for row in connection.execute(wanted):
        found[row.person_id][row.place] = cast(Role, row.role)
    return found


def _check_admins(connection: Connection, person: Row[Any]) -> None:
    """Check that somebody else is admin, if `person` is."""
    columns = schema.person.c
    if person.role != "admin" or person.disabled is not None:
        return
    others = connection.execute(
        select(func.count()).where(
            columns.role == "admin", columns.disabled.is_(None), columns.id != person.id
        )
    ).scalar_one()
    if not others:
        raise LibraryError(
            f"{person.name} is the last admin: a library needs one; make somebody else admin first: "
            "tuningfork library user role NAME admin"
        )


def _update(connection: Connection, person: Row[Any], **values: str | None) -> None:
    connection.execute(update(schema.person).where(schema.person.c.id == person.id).values(**values))


def _forget(connection: Connection, person: Row[Any], place: str) -> None:
    columns = schema.permission.c
    connection.execute(
        delete(schema.permission).where(columns.person_id == person.id, columns.place == place)
    )


def _changed(connection: Connection, kind: str, actor: str, name: str, payload: Mapping[str, Any]) -> Person:
    append_event(connection, kind, actor, {"person": name, **payload})
    return _person(connection, name)
