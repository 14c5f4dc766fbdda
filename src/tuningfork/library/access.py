"""Who may do what in a library."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

from sqlalchemy import ColumnElement, Connection, Row, case, false, literal, or_, select

from tuningfork.errors import AccessError
from tuningfork.library import schema
from tuningfork.library.actors import Actor, acting_in
from tuningfork.library.canonical import now
from tuningfork.library.database import is_writing, lock_rows
from tuningfork.library.naming import LATEST
from tuningfork.library.roles import ALLOWED, OWNER_ROLE, Role, role_at, roles_for
from tuningfork.library.roles import Action as Action
from tuningfork.library.scopes import ANY, Scope, read_scope

_IN_PERSON = ("override", "approve")
"""What nobody does in the name of somebody else."""


class Access(Protocol):
    """Says whether somebody may do something."""

    def check(self, connection: Connection, actor: str, action: Action, name: str) -> None:
        """Check that `actor` may do `action` with the prompt called `name`, or with `name@version` of it.

        An empty `name` is the library as a whole.

        Raises:
            AccessError: if not; the message names the role that is needed.
        """


@dataclass(frozen=True, slots=True)
class Standing:
    """What somebody may do now: their roles and, where they come with a key, its scopes."""

    actor: Actor
    role: Role
    permissions: Mapping[str, Role]
    scopes: tuple[Scope, ...] | None
    """None without a key: then the roles alone decide."""

    def role_for(self, name: str) -> Role:
        """The role that counts for a prompt."""
        return role_at(self.role, self.permissions, name)

    def in_scope(self, action: Action, name: str, version: str) -> bool:
        """Whether the key is for this."""
        return self.scopes is None or any(scope.covers(action, name, version) for scope in self.scopes)


class RoleAccess:
    """Roles of people decide, and scopes of keys; as long as nobody was added, everybody may do everything.

    Then whoever can open the library's files can use it, and the operating system says who can.
    """

    def check(self, connection: Connection, actor: str, action: Action, name: str) -> None:
        """Check that the person behind the transaction may do it, and that it is `actor` or an admin.

        Raises:
            AccessError: if not.
        """
        if action != "read" and is_writing(connection):
            # What is decided here holds until the transaction ends, and stands behind it in the chain.
            lock_rows(connection)
        standing = find_standing(connection, acting_in(connection) or Actor(actor))
        if standing is None:
            return
        if actor != standing.actor.name:
            _check_stands_in(standing, actor, action)
        _check(connection, standing, action, name)


def check_reading(connection: Connection, access: Access, target: str, action: Action = "read") -> None:
    """Check that whoever stands behind the transaction may read this; else only this process is there.

    Raises:
        AccessError: if not.
    """
    if (actor := acting_in(connection)) is not None:
        access.check(connection, actor.name, action, target)


def find_standing(connection: Connection, actor: Actor) -> Standing | None:
    """What `actor` may do now; None if the library has no people, and so is open.

    Raises:
        AccessError: if it has and this is none of them, or they or their key may not come in any more.
    """
    person = connection.execute(select(schema.person).where(schema.person.c.name == actor.name)).first()
    if person is None:
        if actor.key_id is None and not has_people(connection):
            return None
        raise AccessError(
            f"{actor.name!r:.80} is nobody of this library; an admin can change that: tuningfork library "
            "user add NAME --role viewer"
        )
    if person.disabled is not None:
        raise AccessError(f"{actor.name} was disabled at {person.disabled[:16]}; an admin can undo that")
    found = connection.execute(
        select(schema.permission.c.place, schema.permission.c.role).where(
            schema.permission.c.person_id == person.id
        )
    )
    permissions = {row.place: cast(Role, row.role) for row in found}
    return Standing(actor, person.role, permissions, _scopes(connection, actor, person))


def has_people(connection: Connection) -> bool:
    """Whether anybody was ever added."""
    return connection.execute(select(schema.person.c.id).limit(1)).first() is not None


def readable(connection: Connection, *, newest: bool = False) -> list[ColumnElement[bool]]:
    """Conditions on rows of `prompt`: those of which whoever stands behind the transaction may read anything.

    With `newest`, those whose newest version they may read: a find in its text tells what it says.

    Raises:
        AccessError: if they may not come in at all.
    """
    actor = acting_in(connection)
    standing = None if actor is None else find_standing(connection, actor)
    if standing is None:
        return []
    # The longest place is the nearest one.
    places = sorted(standing.permissions.items(), key=lambda item: -len(item[0]))
    general = literal(_may_read(standing.role))
    nearest = [(_lies_in(place), _may_read(role)) for place, role in places]
    conditions = [(case(*nearest, else_=general) if nearest else general) == 1]
    if standing.scopes is not None:
        versions = (ANY, LATEST) if newest else None
        about = [
            scope.names
            for scope in standing.scopes
            if scope.action in (ANY, "read") and (versions is None or scope.version in versions)
        ]
        conditions.append(or_(false(), *(_lies_in(names.removesuffix(ANY)) for names in about)))
    return conditions


def _check(connection: Connection, standing: Standing, action: Action, target: str) -> None:
    name, _, version = target.partition("@")
    actor, role = standing.actor, standing.role_for(name)
    place = target or "the library as a whole"
    if not standing.in_scope(action, name, version):
        scopes = ", ".join(map(str, standing.scopes or ()))
        raise AccessError(
            f"{actor.name} may not {action} {place} with the key {actor.key_prefix}: it is for {scopes}; "
            "make one with another scope: tuningfork library key create --help"
        )
    if action in ALLOWED[role]:
        return
    if action == "own" and role == OWNER_ROLE and _owner(connection, name) == actor.name:
        return
    needed = " or ".join(roles_for(action))
    way = f"permit {actor.name} {name}" if name else f"user role {actor.name}"
    option = "--role " if name else ""
    raise AccessError(
        f"{actor.name} may not {action} {place}: the role there is {role}, needed is {needed}; an admin can "
        f"change that: tuningfork library {way} {option}{roles_for(action)[0]}"
    )


def _check_stands_in(standing: Standing, name: str, action: Action) -> None:
    """Check that whoever is recognised may do `action` in the name of somebody else."""
    actor = standing.actor
    if action in _IN_PERSON:
        raise AccessError(f"{actor.name} cannot {action} in the name of {name!r:.80}: that is done in person")
    if "administer" not in ALLOWED[standing.role] or not standing.in_scope("administer", "", ""):
        raise AccessError(
            f"{actor.name} may not act in the name of {name!r:.80}: only an admin may; leave out --actor"
        )


def _scopes(connection: Connection, actor: Actor, person: Row[Any]) -> tuple[Scope, ...] | None:
    """The scopes of the actor's key, if there is one."""
    if actor.key_id is None:
        return None
    columns = schema.api_key.c
    key = connection.execute(
        select(columns.scopes, columns.expires, columns.revoked).where(
            columns.id == actor.key_id, columns.person_id == person.id
        )
    ).first()
    if key is None or key.revoked is not None:
        when = "" if key is None else f" at {key.revoked[:16]}"
        raise AccessError(f"the key {actor.key_prefix} was revoked{when}; ask an admin for another")
    if key.expires is not None and key.expires <= now():
        raise AccessError(
            f"the key {actor.key_prefix} expired at {key.expires[:16]}; make another: tuningfork library key "
            "create --help"
        )
    return tuple(read_scope(text) for text in key.scopes)


def _owner(connection: Connection, name: str) -> str | None:
    return connection.execute(select(schema.prompt.c.owner).where(schema.prompt.c.name == name)).scalar()


def _lies_in(place: str) -> ColumnElement[bool]:
    """Whether the prompt of a row is `place`, or lies in it; an empty place is around all."""
    name = schema.prompt.c.name
    return name.startswith(place, autoescape=True) if place.endswith("/") or not place else name == place


def _may_read(role: Role) -> int:
    # PostgreSQL compares numbers, not truths, with what a CASE gives; SQLite knows only numbers.
    return int("read" in ALLOWED[role])
