"""Replays what events tell of people and keys, so that no role or key can be given by editing rows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, select

from tuningfork.library import keys, people, schema
from tuningfork.library.problems import Problem

_KEY_FIELDS = ("person", "name", "scopes", "created", "expires", "sha256")


@dataclass(slots=True)
class ExpectedPeople:
    """People and keys as the events so far leave them."""

    people: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By name: `role`, and `disabled` where somebody is."""
    permissions: dict[tuple[str, str], str] = field(default_factory=dict)
    """By person and place: the role there."""
    keys: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By prefix: what a key is for, its hash, and when it was revoked."""

    def follow(self, event: Row[Any], said: Mapping[str, Any]) -> None:
        """Take one more event."""
        match event.kind:
            case people.ADDED:
                self.people[said["person"]] = {"role": said["role"], "disabled": None}
            case people.ROLE_CHANGED:
                self.people[said["person"]]["role"] = said["role"]
            case people.DISABLED:
                self.people[said["person"]]["disabled"] = said["disabled"]
            case people.ENABLED:
                self.people[said["person"]]["disabled"] = None
            case people.PERMITTED:
                self.permissions[said["person"], said["place"]] = said["role"]
            case people.UNPERMITTED:
                self.permissions.pop((said["person"], said["place"]), None)
            case keys.CREATED:
                self.keys[said["prefix"]] = {name: said[name] for name in _KEY_FIELDS} | {"revoked": None}
            case keys.REVOKED:
                self.keys[said["prefix"]]["revoked"] = said["revoked"]

    def wrong(self, connection: Connection) -> Iterator[Problem]:
        """People, permissions and keys that are not what the events say."""
        person = schema.person.c
        found = {
            row.name: {"role": row.role, "disabled": row.disabled}
            for row in connection.execute(select(schema.person))
        }
        yield from _compared("person", found, self.people)
        permissions = connection.execute(
            select(person.name, schema.permission.c.place, schema.permission.c.role).join(
                schema.person, person.id == schema.permission.c.person_id
            )
        )
        roles = {f"{row.name} at {row.place}": {"role": row.role} for row in permissions}
        told = {f"{name} at {place}": {"role": role} for (name, place), role in self.permissions.items()}
        yield from _compared("permission", roles, told)
        rows = connection.execute(
            select(schema.api_key, person.name.label("person")).join(
                schema.person, person.id == schema.api_key.c.person_id
            )
        )
        known = {row.prefix: {name: getattr(row, name) for name in (*_KEY_FIELDS, "revoked")} for row in rows}
        yield from _compared("key", known, self.keys)


def _compared(
    kind: str, found: Mapping[str, Mapping[str, Any]], told: Mapping[str, Mapping[str, Any]]
) -> Iterator[Problem]:
    for name in sorted(found.keys() | told.keys()):
        if name not in told:
            yield Problem(kind, name, "no event tells of it")
        elif name not in found:
            yield Problem(kind, name, "events tell of it, and its row is missing")
        elif changed := [key for key, value in told[name].items() if found[name][key] != value]:
            yield Problem(kind, name, f"not what the events say: {', '.join(changed)}")
