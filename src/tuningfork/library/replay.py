"""Replays the chain of events: what the rows of a library must be, compared with what they are.

Memory grows with the number of prompts and aliases, by a few numbers for each, not with that of versions.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, func, select, tuple_

from tuningfork.library import approvals, datasets, schema
from tuningfork.library.actors import signed_name
from tuningfork.library.aliases import MOVED, REMOVED, ROLLED_BACK
from tuningfork.library.contents import Content
from tuningfork.library.ledgers import LEDGERS, Ledger
from tuningfork.library.naming import folder_of
from tuningfork.library.problems import Problem
from tuningfork.library.registration import REGISTERED
from tuningfork.library.store import REVOKED
from tuningfork.library.versions import content_in

_BATCH = 500
_UNREADABLE = (KeyError, TypeError, ValueError)
"""What comes of an event or a row that was changed by hand; pydantic's errors are values' errors."""


@dataclass(slots=True)
class Pointer:
    """Where an alias points after the events so far."""

    number: int | None
    generation: int
    moved: str
    """When the event was added that moved it."""


@dataclass(slots=True)
class Expected:
    """What the rows must be, after all events."""

    last_numbers: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    """Of each prompt by its key: number of its newest version."""
    pointers: dict[tuple[int, str], Pointer] = field(default_factory=dict)
    """By key of the prompt and name of the alias."""
    revoked: dict[tuple[int, int], str] = field(default_factory=dict)
    """When versions were revoked, by key of the prompt and number."""
    described: dict[int, dict[str, Any]] = field(default_factory=lambda: defaultdict(dict))
    """What `describe` set last, by key of the prompt and name of the column."""
    datasets: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By hash: what rows of sets must hold."""
    withdrawn: dict[tuple[int, int, str], int] = field(default_factory=lambda: defaultdict(int))
    """How many approvals were withdrawn, by key of the prompt, number and alias."""


def replay(
    connection: Connection, expected: Expected, advanced: Callable[[int], None] = lambda _: None
) -> Iterator[Problem]:
    """Go through all events; fill `expected`, and yield where single rows are not what their event says."""
    ledgers = [Ledger(connection, *kind) for kind in LEDGERS]
    done = 0
    for batch in _batches(connection, select(schema.event).order_by(schema.event.c.sequence)):
        found = []
        for row in batch:
            try:
                found.append((row, json.loads(row.payload)))
            except ValueError:
                # The chain itself is broken here, and is told of by whoever checks it.
                continue
        registered = [(row, said) for row, said in found if row.kind == REGISTERED]
        yield from _check_versions(connection, registered)
        for row, said in found:
            try:
                yield from _follow(expected, row, said)
                for ledger in ledgers:
                    yield from ledger.follow(row, said)
            except _UNREADABLE as error:
                yield Problem("event", f"event {row.sequence}", f"it cannot be followed ({error!r:.100})")
        done += len(batch)
        advanced(done)
    for ledger in ledgers:
        yield from ledger.finish()


def _follow(expected: Expected, row: Row[Any], said: Mapping[str, Any]) -> Iterator[Problem]:
    key = row.prompt_id
    if row.kind == REGISTERED:
        if said["number"] != expected.last_numbers[key] + 1:
            yield Problem(
                "event",
                f"event {row.sequence}",
                f"it registers {said['prompt']}@{said['number']} behind @{expected.last_numbers[key]}",
            )
        expected.last_numbers[key] = said["number"]
    elif row.kind in (MOVED, REMOVED, ROLLED_BACK):
        place = (key, said["alias"])
        before = expected.pointers.get(place, Pointer(None, 0, ""))
        if said["before"] != before.number:
            yield Problem(
                "event",
                f"event {row.sequence}",
                f"it moves {said['prompt']}@{said['alias']} from {said['before']}, which pointed to "
                f"{before.number}",
            )
        expected.pointers[place] = Pointer(said["after"], before.generation + 1, row.time)
    elif row.kind == REVOKED:
        expected.revoked[key, said["number"]] = said["revoked"]
    elif row.kind in ("owner changed", "description changed"):
        expected.described[key].update(said["after"])
    elif row.kind == datasets.ADDED:
        columns = {name: said[name] for name in ("name", "num_rows", "role")}
        author = signed_name(row.actor)
        expected.datasets[said["sha256"]] = columns | {"author": author, "frozen": None}
    elif row.kind == datasets.FROZEN:
        expected.datasets[said["sha256"]]["frozen"] = said["frozen"]
    elif row.kind == approvals.WITHDRAWN:
        expected.withdrawn[key, said["number"], said["alias"]] += 1


def _check_versions(
    connection: Connection, registered: Sequence[tuple[Row[Any], Mapping[str, Any]]]
) -> Iterator[Problem]:
    """Compare the versions that events tell of with their rows."""
    if not registered:
        return
    version, prompt = schema.version.c, schema.prompt.c
    wanted = [(row.prompt_id, said.get("number")) for row, said in registered]
    rows = {
        (row.prompt_id, row.number): row
        for row in connection.execute(
            select(schema.version, prompt.name)
            .join(schema.prompt, prompt.id == version.prompt_id)
            .where(tuple_(version.prompt_id, version.number).in_(wanted))
        )
    }
    files = _files(connection, [row.id for row in rows.values()])
    for event, said in registered:
        row = rows.get((event.prompt_id, said.get("number")))
        where = f"{said.get('prompt')}@{said.get('number')}"
        if row is None:
            yield Problem("version", where, f"event {event.sequence} registered it, and its row is missing")
            continue
        changed = _changed(row, files[row.id], event, said)
        if changed:
            yield Problem("version", where, f"not what event {event.sequence} says: {', '.join(changed)}")


def _changed(row: Row[Any], files: Mapping[str, str], event: Row[Any], said: Mapping[str, Any]) -> list[str]:
    """Names of what differs between a version's row and its event."""
    try:
        content: Content | None = content_in(row, files)
    except _UNREADABLE:
        content = None
    pairs = {
        "content": (None if content is None else content.hash, said.get("content_hash")),
        "content hash": (row.content_hash, said.get("content_hash")),
        "files": (files, said.get("files")),
        "lineage": (row.lineage, said.get("lineage")),
        "note": (row.note, said.get("note")),
        "parent": (row.parent_number, said.get("parent")),
        "author": (row.author, signed_name(event.actor)),
        "time": (row.created, said.get("created")),
        "name of the prompt": (row.name, said.get("prompt")),
    }
    return [name for name, (found, told) in pairs.items() if found != told]


def _files(connection: Connection, keys: Sequence[int]) -> dict[int, dict[str, str]]:
    held = schema.version_artifact.c
    files: dict[int, dict[str, str]] = defaultdict(dict)
    for row in connection.execute(
        select(held.version_id, held.path, held.sha256).where(held.version_id.in_(keys))
    ):
        files[row.version_id][row.path] = row.sha256
    return files


def wrong_prompts(connection: Connection, expected: Expected) -> Iterator[Problem]:
    """Prompts whose rows, or numbers of versions, are not what the events say."""
    prompt, version = schema.prompt.c, schema.version.c
    counted = (
        select(
            version.prompt_id,
            func.count().label("num_versions"),
            func.max(version.number).label("last"),
            func.min(version.number).label("first"),
        )
        .group_by(version.prompt_id)
        .subquery()
    )
    newest = and_(version.prompt_id == prompt.id, version.number == prompt.last_number)
    rows = (
        select(
            schema.prompt,
            counted.c.num_versions,
            counted.c.last,
            counted.c.first,
            version.kind.label("newest"),
        )
        .outerjoin(counted, counted.c.prompt_id == prompt.id)
        .outerjoin(schema.version, newest)
        .order_by(prompt.id)
    )
    known = 0
    for batch in _batches(connection, rows):
        for row in batch:
            last = expected.last_numbers.get(row.id, 0)
            known += row.id in expected.last_numbers
            if not last:
                yield Problem("prompt", row.name, "no event tells of it")
                continue
            if (row.num_versions or 0) != last or row.first != 1 or row.last != last:
                yield Problem(
                    "prompt",
                    row.name,
                    f"it has {row.num_versions or 0} versions, the newest {row.last}; "
                    f"events registered 1 to {last}",
                )
            elif row.last_number != last or row.kind != row.newest:
                yield Problem("prompt", row.name, "its newest version is not the one it names", True)
            if row.folder != folder_of(row.name):
                yield Problem("prompt", row.name, f"its folder {row.folder!r} is not in its name", True)
            for name, told in expected.described.get(row.id, {}).items():
                if getattr(row, name) != told:
                    yield Problem("prompt", row.name, f"its {name} is not what the last event about it says")
    if known < len(expected.last_numbers):
        missing = len(expected.last_numbers) - known
        yield Problem("prompt", "prompts", f"{missing} that events tell of are missing")


def wrong_aliases(
    connection: Connection, expected: Expected
) -> Iterator[tuple[int, str, Pointer | None, Problem]]:
    """Aliases that do not point where events say: key of the prompt, name, what must be, the problem."""
    alias = schema.alias.c
    rows = (
        select(schema.alias, schema.prompt.c.name.label("prompt"))
        .join(schema.prompt, schema.prompt.c.id == alias.prompt_id)
        .order_by(alias.prompt_id, alias.name)
    )
    seen = set()
    for batch in _batches(connection, rows):
        for row in batch:
            place = (row.prompt_id, row.name)
            seen.add(place)
            told, where = expected.pointers.get(place), f"{row.prompt}@{row.name}"
            if told is None:
                yield *place, None, Problem("alias", where, "no event tells of it", True)
            elif (row.number, row.generation) != (told.number, told.generation):
                what = (
                    f"it points to {row.number} after {row.generation} moves; events say {told.number} after "
                    f"{told.generation}"
                )
                yield *place, told, Problem("alias", where, what, True)
    for place, told in expected.pointers.items():
        if place not in seen:
            name = connection.scalar(select(schema.prompt.c.name).where(schema.prompt.c.id == place[0]))
            what = f"it is missing; events say it points to {told.number}"
            yield *place, told, Problem("alias", f"{name}@{place[1]}", what, True)


def wrong_revocations(connection: Connection, expected: Expected) -> Iterator[Problem]:
    """Versions that are revoked, or not, otherwise than the events say."""
    version = schema.version.c
    rows = (
        select(version.prompt_id, version.number, version.revoked, schema.prompt.c.name)
        .join(schema.prompt, schema.prompt.c.id == version.prompt_id)
        .where(version.revoked.is_not(None))
        .order_by(version.id)
    )
    left = dict(expected.revoked)
    for batch in _batches(connection, rows):
        for row in batch:
            if left.pop((row.prompt_id, row.number), None) != row.revoked:
                where = f"{row.name}@{row.number}"
                yield Problem("version", where, f"no event revoked it at {row.revoked}")
    for (key, number), when in left.items():
        name = connection.scalar(select(schema.prompt.c.name).where(schema.prompt.c.id == key))
        yield Problem("version", f"{name}@{number}", f"it was revoked at {when}, and its row does not say so")


def wrong_datasets(connection: Connection, expected: Expected) -> Iterator[Problem]:
    """Sets of rows that are not what events say, or that are frozen otherwise."""
    rows = {row.sha256: row._mapping for row in connection.execute(select(schema.dataset))}
    for sha256 in sorted(rows.keys() | expected.datasets.keys()):
        told, row = expected.datasets.get(sha256), rows.get(sha256)
        if told is None:
            yield Problem("dataset", sha256, "no event tells of it")
        elif row is None:
            yield Problem("dataset", sha256, "events tell of it, and its row is missing")
        elif changed := [name for name, value in told.items() if row[name] != value]:
            yield Problem("dataset", sha256, f"not what events say: {', '.join(changed)}")


def wrong_withdrawals(connection: Connection, expected: Expected) -> Iterator[Problem]:
    """Versions of which more or fewer approvals were withdrawn than events say."""
    version, approval = schema.version.c, schema.approval.c
    rows = connection.execute(
        select(version.prompt_id, version.number, approval.alias, func.count())
        .join(schema.version, version.id == approval.version_id)
        .where(approval.withdrawn.is_not(None))
        .group_by(version.prompt_id, version.number, approval.alias)
    )
    found = {(row[0], row[1], row[2]): row[3] for row in rows}
    for place in sorted(found.keys() | expected.withdrawn.keys()):
        key, number, alias = place
        if (count := found.get(place, 0)) != (told := expected.withdrawn.get(place, 0)):
            name = connection.scalar(select(schema.prompt.c.name).where(schema.prompt.c.id == key))
            what = f"{count} for {alias} are withdrawn; events tell of {told}"
            yield Problem("approval", f"{name}@{number}", what)


def _batches(connection: Connection, wanted: Select[Any]) -> Iterator[Sequence[Row[Any]]]:
    with connection.execute(wanted.execution_options(yield_per=_BATCH)) as result:
        yield from result.partitions()
