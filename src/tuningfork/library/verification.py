"""Verifies a library: its chain, every row against what its event says, every byte against its hash.

`repair` mends what can be mended without inventing anything, and writes down what it did; the chain itself is
never touched.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, delete, func, insert, select, text, update

from tuningfork.errors import LibraryError
from tuningfork.events import EventSink, NullSink, StageAdvanced, StageFinished, StageStarted
from tuningfork.library import schema
from tuningfork.library.artifacts import ArtifactStore
from tuningfork.library.canonical import now
from tuningfork.library.chain import append_event, broken_links, head
from tuningfork.library.collection import naming_columns
from tuningfork.library.database import lock_rows, reading, writing
from tuningfork.library.naming import folder_of
from tuningfork.library.people_replay import wrong_people
from tuningfork.library.problems import Problem
from tuningfork.library.replay import (
    Expected,
    Pointer,
    replay,
    wrong_aliases,
    wrong_datasets,
    wrong_prompts,
    wrong_revocations,
    wrong_withdrawals,
)
from tuningfork.library.word_index import index_prompts, stale_prompts

if TYPE_CHECKING:
    from tuningfork.library.store import Library

REPAIRED = "repaired"
_BATCH = 500
_MOST_FAULTS = 20
"""Faults of the database file that are told of."""
_TELLING_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Verification:
    """What was looked at, and what is wrong."""

    head: str
    """Hash of the last event: kept elsewhere, it proves later that the end was not cut off."""
    num_events: int
    num_versions: int
    num_artifacts: int
    num_bytes: int
    problems: tuple[Problem, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class Repair:
    """What was mended, and how."""

    kind: str
    where: str
    what: str


def verify(
    library: "Library", *, expected_head: str | None = None, sink: EventSink | None = None
) -> Verification:
    """Look at everything in a library, as it is at one moment.

    `expected_head` is the hash of an event that was the last one once; without it nobody can tell that the
    end of the chain was cut off together with its rows.

    Raises:
        LibraryError: if the database cannot be read at all.
    """
    with reading(library.engine) as connection:
        return look_through(connection, library.artifacts, expected_head=expected_head, sink=sink)


def look_through(
    connection: Connection,
    artifacts: ArtifactStore,
    *,
    expected_head: str | None = None,
    sink: EventSink | None = None,
) -> Verification:
    """Look at everything in a library, as this transaction sees it."""
    stages = _Stages(sink or NullSink())
    counts = {
        table.name: connection.scalar(select(func.count()).select_from(table)) or 0
        for table in (schema.event, schema.version, schema.artifact)
    }
    problems = list(_faults_of_the_file(connection))
    with stages.stage("Verify chain", None, "events"):
        problems += [
            Problem("chain", "events", broken)
            for broken in broken_links(connection, expected_head=expected_head)
        ]
    problems += _wrong_rows(connection, counts["event"], stages)
    num_bytes, damaged = _check_bytes(connection, artifacts, counts["artifact"], stages)
    return Verification(
        head=head(connection),
        num_events=counts["event"],
        num_versions=counts["version"],
        num_artifacts=counts["artifact"],
        num_bytes=num_bytes,
        problems=(*problems, *damaged),
    )


def repair(
    library: "Library", *, actor: str, source: ArtifactStore | None = None, sink: EventSink | None = None
) -> list[Repair]:
    """Mend what can be mended: what follows from the chain or from other rows, and bytes that `source` has.

    Each repair adds an event to the chain, in the transaction of the repair.

    Raises:
        LibraryError: if the chain itself is broken, so that nothing can be trusted.
        AccessError: if the actor may not do this.
    """
    stages = _Stages(sink or NullSink())
    with writing(library.engine) as connection:
        lock_rows(connection)
        library.access.check(connection, actor, "administer", "")
        with stages.stage("Verify chain", None, "events"):
            if broken := broken_links(connection):
                raise LibraryError(
                    f"{library.place}: nothing was repaired, for the chain of events itself is broken "
                    f"({broken[0]}): bring the database back from a backup"
                )
        expected = Expected()
        for _problem in replay(connection, expected):
            # Only `expected` is wanted: rows of versions cannot be brought back from hashes.
            pass
        repairs = [
            *_repair_prompts(connection, expected),
            *_repair_aliases(connection, expected),
            *_repair_artifact_rows(connection, library.artifacts, source),
            *_repair_words(connection),
        ]
        _tell(connection, actor, repairs)
    return repairs + _restore(library, source, actor, stages)


def _wrong_rows(connection: Connection, num_events: int, stages: "_Stages") -> list[Problem]:
    expected = Expected()
    with stages.stage("Verify rows", num_events, "events") as advanced:
        problems = list(replay(connection, expected, advanced))
    problems += wrong_prompts(connection, expected)
    problems += [problem for *_, problem in wrong_aliases(connection, expected)]
    problems += wrong_revocations(connection, expected)
    problems += wrong_datasets(connection, expected)
    problems += wrong_withdrawals(connection, expected)
    problems += [Problem("person", where, what) for where, what in wrong_people(connection)]
    problems += [
        Problem("words", name, "search does not find it by what it says now", True)
        for _key, name in stale_prompts(connection)
    ]
    return problems


def _faults_of_the_file(connection: Connection) -> Iterator[Problem]:
    """What the database itself finds wrong; PostgreSQL holds its own rules at all times."""
    if connection.dialect.name != "sqlite":
        return
    for (fault,) in connection.execute(text(f"PRAGMA integrity_check({_MOST_FAULTS})")):
        if fault != "ok":
            yield Problem("database", "library.db", fault)
    for row in connection.execute(text("PRAGMA foreign_key_check")).fetchmany(_MOST_FAULTS):
        if row[2] == schema.artifact.name:
            # Bytes that rows name are looked for anyway, and may be listed again.
            continue
        yield Problem("database", f"{row[0]} row {row[1]}", f"it names a row of {row[2]} that is not there")


def _check_bytes(
    connection: Connection, artifacts: ArtifactStore, count: int, stages: "_Stages"
) -> tuple[int, list[Problem]]:
    """Hash all bytes that rows name; how many there are, and what is wrong."""
    problems, num_bytes = [], 0
    with stages.stage("Verify bytes", count, "artifacts") as advanced:
        for done, row in enumerate(_in_order(connection), 1):
            size, what = _damage(artifacts, row)
            num_bytes += size
            if what:
                problems.append(Problem("artifact", row.sha256, what, True))
            advanced(done)
        for sha256 in _unlisted(connection):
            problems.append(Problem("artifact", sha256, "a row names it, and no list of artifacts", True))
    return num_bytes, problems


def _damage(artifacts: ArtifactStore, row: Row[Any]) -> tuple[int, str]:
    """Size of an artifact, and what is wrong with it, if anything."""
    try:
        found = artifacts.measure(row.sha256)
    except LibraryError as error:
        return 0, str(error)
    if found is None:
        return 0, f"it is missing in {artifacts.place}"
    if found.sha256 != row.sha256:
        return found.num_bytes, f"its bytes were changed: their SHA-256 is now {found.sha256[:12]}"
    if found.num_bytes != row.num_bytes:
        return found.num_bytes, f"it has {found.num_bytes} bytes; its row says {row.num_bytes}"
    return found.num_bytes, ""


def _in_order(connection: Connection) -> Iterable[Row[Any]]:
    columns = schema.artifact.c
    wanted = select(columns.sha256, columns.num_bytes).order_by(columns.sha256)
    return connection.execute(wanted.execution_options(yield_per=_BATCH))


def _unlisted(connection: Connection) -> Iterator[str]:
    """Hashes that rows name and the table of artifacts lacks."""
    seen = set()
    key = schema.artifact.c.sha256
    for column in naming_columns()[1:]:
        wanted = select(column).outerjoin(schema.artifact, key == column).where(key.is_(None)).distinct()
        for sha256 in connection.scalars(wanted):
            if sha256 not in seen:
                seen.add(sha256)
                yield sha256


def _tell(connection: Connection, actor: str, repairs: list[Repair]) -> None:
    for done in repairs:
        payload = {"kind": done.kind, "where": done.where, "what": done.what}
        append_event(connection, REPAIRED, actor, payload)


def _repair_prompts(connection: Connection, expected: Expected) -> Iterator[Repair]:
    prompt, version = schema.prompt.c, schema.version.c
    wrong = [problem.where for problem in wrong_prompts(connection, expected) if problem.can_be_repaired]
    for name in dict.fromkeys(wrong):
        row = connection.execute(select(schema.prompt).where(prompt.name == name)).one()
        last = expected.last_numbers[row.id]
        kind = connection.scalar(
            select(version.kind).where(version.prompt_id == row.id, version.number == last)
        )
        if kind is None:
            continue
        connection.execute(
            update(schema.prompt)
            .where(prompt.id == row.id)
            .values(last_number=last, kind=kind, folder=folder_of(name))
        )
        yield Repair("prompt", name, f"its newest version is @{last} ({kind}), as its versions say")


def _repair_aliases(connection: Connection, expected: Expected) -> Iterator[Repair]:
    alias = schema.alias.c
    version = schema.version.c
    for key, name, told, problem in list(wrong_aliases(connection, expected)):
        number = None if told is None else told.number
        points_to = select(version.id).where(version.prompt_id == key, version.number == number)
        if number is not None and connection.scalar(points_to) is None:
            # What it must point to is missing; that is told of, and nothing can be done.
            continue
        connection.execute(delete(schema.alias).where(alias.prompt_id == key, alias.name == name))
        if told is None:
            yield Repair("alias", problem.where, "removed, for no event tells of it")
            continue
        connection.execute(insert(schema.alias).values(_alias_values(key, name, told)))
        yield Repair("alias", problem.where, f"points to {told.number} again, as the chain says")


def _alias_values(prompt_id: int, name: str, told: Pointer) -> dict[str, Any]:
    return {
        "prompt_id": prompt_id,
        "name": name,
        "number": told.number,
        "generation": told.generation,
        "moved": told.moved,
    }


def _repair_artifact_rows(
    connection: Connection, artifacts: ArtifactStore, source: ArtifactStore | None
) -> Iterator[Repair]:
    """List artifacts that rows name, where their bytes are there to be counted."""
    for sha256 in list(_unlisted(connection)):
        for store in (artifacts, source):
            found = None if store is None else store.measure(sha256)
            if found is not None and found.sha256 == sha256:
                connection.execute(
                    insert(schema.artifact).values(sha256=sha256, num_bytes=found.num_bytes, created=now())
                )
                yield Repair("artifact", sha256, "listed again")
                break


def _repair_words(connection: Connection) -> Iterator[Repair]:
    stale = list(stale_prompts(connection))
    index_prompts(connection, [key for key, _name in stale])
    if stale:
        yield Repair("words", f"{len(stale)} prompts", "search finds them by what they say now")


def _restore(library: "Library", source: ArtifactStore | None, actor: str, stages: "_Stages") -> list[Repair]:
    """Bring bytes that are missing or damaged back from another copy, which is checked by their hashes."""
    with reading(library.engine) as connection:
        count = connection.scalar(select(func.count()).select_from(schema.artifact)) or 0
        with stages.stage("Verify bytes", count, "artifacts") as advanced:
            damaged = []
            for done, row in enumerate(_in_order(connection), 1):
                if _damage(library.artifacts, row)[1]:
                    damaged.append(row.sha256)
                advanced(done)
    repairs = []
    for sha256 in damaged:
        if (mended := _restore_one(library.artifacts, source, sha256)) is None:
            continue
        num_bytes, what = mended
        with writing(library.engine) as connection:
            key = schema.artifact.c.sha256
            connection.execute(update(schema.artifact).where(key == sha256).values(num_bytes=num_bytes))
            repairs.append(Repair("artifact", sha256, what))
            _tell(connection, actor, repairs[-1:])
    return repairs


def _restore_one(
    artifacts: ArtifactStore, source: ArtifactStore | None, sha256: str
) -> tuple[int, str] | None:
    """Have the right bytes lie under their hash; their number and what was done, None if nobody has them."""
    try:
        # Where the bytes are right, only their number was wrong in the row.
        return len(artifacts.get(sha256)), "its size is listed as it is"
    except LibraryError:
        pass
    if source is None:
        return None
    try:
        content = source.get(sha256)
    except LibraryError:
        return None
    artifacts.remove(sha256)
    artifacts.put(content)
    return len(content), f"brought back from {source.place}"


class _Stages:
    """Tells a sink of stages, and every now and then how far they are."""

    def __init__(self, sink: EventSink) -> None:
        self._sink = sink

    @contextmanager
    def stage(self, name: str, total: int | None, unit: str) -> Iterator[Callable[[int], None]]:
        started = told = time.monotonic()
        self._sink.emit(StageStarted(name, total, unit))

        def advanced(done: int) -> None:
            nonlocal told
            if (moment := time.monotonic()) - told >= _TELLING_SECONDS or done == total:
                told = moment
                self._sink.emit(StageAdvanced(name, done))

        yield advanced
        self._sink.emit(StageFinished(name, time.monotonic() - started))
