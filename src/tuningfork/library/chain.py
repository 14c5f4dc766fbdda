"""The history of a library: events that are only ever added, each holding the hash of the one before."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, select

from tuningfork.library import schema
from tuningfork.library.actors import acting_in
from tuningfork.library.canonical import canonical_json, hash_value, now
from tuningfork.library.database import lock_rows

FIRST_HASH = "0" * 64
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class LibraryEvent:
    """One thing that happened."""

    sequence: int
    """From 1, without gaps."""
    time: str
    actor: str
    kind: str
    prompt_id: int | None
    payload: Mapping[str, Any]
    previous_hash: str
    hash: str


def event_hash(fields: Mapping[str, Any]) -> str:
    """The hash of an event with these fields, its own hash left out."""
    return hash_value({name: value for name, value in fields.items() if name != "hash"})


def append_event(
    connection: Connection, kind: str, actor: str, payload: Mapping[str, Any], *, prompt_id: int | None = None
) -> LibraryEvent:
    """Add an event behind the last one, in the transaction of what it tells of.

    Where the transaction is somebody's who was recognised, the event names their key beside `actor`.
    """
    lock_rows(connection)
    acting = acting_in(connection)
    last = connection.execute(
        select(schema.event.c.sequence, schema.event.c.hash).order_by(schema.event.c.sequence.desc()).limit(1)
    ).first()
    fields = {
        "sequence": 1 if last is None else last.sequence + 1,
        "time": now(),
        "actor": actor if acting is None else acting.signature(actor),
        "kind": kind,
        "prompt_id": prompt_id,
        "payload": canonical_json(payload),
        "previous_hash": FIRST_HASH if last is None else last.hash,
    }
    fields["hash"] = event_hash(fields)
    connection.execute(schema.event.insert().values(**fields))
    return LibraryEvent(**fields | {"payload": payload})


def events(
    connection: Connection, *, prompt_id: int | None = None, kind: str | None = None
) -> Iterator[LibraryEvent]:
    """What happened, first things first: to one prompt, or of one kind, or all."""
    wanted = _in_order()
    if prompt_id is not None:
        wanted = wanted.where(schema.event.c.prompt_id == prompt_id)
    if kind is not None:
        wanted = wanted.where(schema.event.c.kind == kind)
    for row in connection.execute(wanted):
        yield _event(row)


def head(connection: Connection) -> str:
    """The hash of the last event; whoever has kept it can tell later whether the end was cut off."""
    found = connection.execute(
        select(schema.event.c.hash).order_by(schema.event.c.sequence.desc()).limit(1)
    ).scalar()
    return FIRST_HASH if found is None else str(found)


def broken_links(connection: Connection, *, expected_head: str | None = None) -> list[str]:
    """What is wrong with the chain: one line for each event that was changed, removed or put in.

    A chain whose end was cut off is whole in itself; only `expected_head`, kept outside, finds that.
    """
    problems, previous, expected, heads = [], FIRST_HASH, 1, {FIRST_HASH}
    for row in connection.execute(_in_order()):
        fields = dict(row._mapping)
        if row.sequence != expected:
            problems.append(f"event {expected} is missing: after {expected - 1} comes {row.sequence}")
        elif row.previous_hash != previous:
            problems.append(f"event {row.sequence} does not follow the event before it")
        if event_hash(fields) != row.hash:
            problems.append(f"event {row.sequence} ({row.kind}, {row.time}) was changed")
        previous, expected = row.hash, row.sequence + 1
        heads.add(row.hash)
    if expected_head is not None and expected_head not in heads:
        problems.append(
            f"the event with hash {expected_head[:12]} is not in the chain: its end was cut off, or it is "
            "another library's"
        )
    return problems


def _in_order() -> Select[Any]:
    return select(schema.event).order_by(schema.event.c.sequence).execution_options(yield_per=_BATCH)


def _event(row: Row[Any]) -> LibraryEvent:
    fields = dict(row._mapping)
    return LibraryEvent(**fields | {"payload": json.loads(fields["payload"])})
