"""Who the people, permissions and keys of a library must be, by its chain of events, and who they are."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, select

from tuningfork.library import keys, people, schema

_PEOPLE = (
    people.ADDED,
    people.ROLE_CHANGED,
    people.DISABLED,
    people.ENABLED,
    people.PERMITTED,
    people.UNPERMITTED,
)
_KINDS = (*_PEOPLE, keys.CREATED, keys.REVOKED)
_UNREADABLE = (KeyError, TypeError, ValueError)
_KEY_COLUMNS = ("person", "name", "sha256", "scopes", "created", "expires", "revoked")
"""When a key was used last is no event."""


@dataclass(slots=True)
class _Known:
    """What events say, by name."""

    people: dict[str, dict[str, Any]] = field(default_factory=dict)
    permissions: dict[tuple[str, str], str] = field(default_factory=dict)
    keys: dict[str, dict[str, Any]] = field(default_factory=dict)


def wrong_people(connection: Connection) -> Iterator[tuple[str, str]]:
    """Where the rows of people, permissions and keys are not what events say: what it is, and what is wrong.

    Whoever writes the database's file past the library can make themself admin, or put the hash of a key of
    their own in the place of another; this finds it.
    """
    known = _Known()
    wanted = select(schema.event).where(schema.event.c.kind.in_(_KINDS)).order_by(schema.event.c.sequence)
    for row in connection.execute(wanted):
        try:
            _follow(known, row.kind, json.loads(row.payload))
        except _UNREADABLE as error:
            yield f"event {row.sequence}", f"it cannot be followed ({error!r:.100})"
    person, permission, key = schema.person.c, schema.permission.c, schema.api_key.c
    yield from _compared(
        "person",
        known.people,
        {
            row.name: {"role": row.role, "disabled": row.disabled}
            for row in connection.execute(select(person.name, person.role, person.disabled))
        },
    )
    found = connection.execute(
        select(person.name, permission.place, permission.role).join(
            schema.permission, permission.person_id == person.id
        )
    )
    yield from _compared(
        "permission",
        {" at ".join(place): {"role": role} for place, role in known.permissions.items()},
        {f"{row.name} at {row.place}": {"role": row.role} for row in found},
    )
    rows = connection.execute(
        select(schema.api_key, person.name.label("person")).join(schema.person, key.person_id == person.id)
    )
    by_prefix = {row.prefix: {column: getattr(row, column) for column in _KEY_COLUMNS} for row in rows}
    yield from _compared("key", known.keys, by_prefix)


def _follow(known: _Known, kind: str, said: Mapping[str, Any]) -> None:
    name = said["person"]
    if kind == people.ADDED:
        known.people[name] = {"role": said["role"], "disabled": None}
    elif kind == people.ROLE_CHANGED:
        known.people[name]["role"] = said["role"]
    elif kind in (people.DISABLED, people.ENABLED):
        known.people[name]["disabled"] = said.get("disabled")
    elif kind == people.PERMITTED:
        known.permissions[name, said["place"]] = said["role"]
    elif kind == people.UNPERMITTED:
        del known.permissions[name, said["place"]]
    elif kind == keys.CREATED:
        known.keys[said["prefix"]] = {column: said.get(column) for column in _KEY_COLUMNS}
    else:
        known.keys[said["prefix"]]["revoked"] = said["revoked"]


def _compared(
    what: str, expected: Mapping[str, Mapping[str, Any]], found: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, str]]:
    for name in sorted(expected.keys() | found.keys()):
        if name not in expected:
            yield f"{what} {name}", "no event tells of it"
        elif name not in found:
            yield f"{what} {name}", "its row is missing"
        else:
            for column, value in expected[name].items():
                if found[name][column] != value:
                    yield f"{what} {name}", f"its {column} is not what events say"
