"""Collects garbage: bytes that no row names, as a crash between bytes and rows leaves them."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Column, Connection, select

from tuningfork.events import EventSink, NullSink, StageAdvanced, StageFinished, StageStarted
from tuningfork.library import schema
from tuningfork.library.chain import append_event
from tuningfork.library.database import lock_rows, reading, writing

if TYPE_CHECKING:
    from tuningfork.library.store import Library

COLLECTED = "garbage collected"
GRACE_SECONDS = 3600.0
"""How long bytes may wait for the row that names them, by default."""
_BATCH = 500


@dataclass(frozen=True, slots=True)
class Collected:
    """What was removed or, in a dry run, would be."""

    artifacts: tuple[str, ...]
    num_bytes: int
    unfinished: int
    """Temporary files of writers that were killed."""


def collect(
    library: "Library",
    *,
    actor: str,
    grace_seconds: float = GRACE_SECONDS,
    dry_run: bool = False,
    sink: EventSink | None = None,
) -> Collected:
    """Remove bytes that no row names and that were written longer than `grace_seconds` ago.

    A registration writes bytes first and rows second. It looks for its bytes again once it holds the lock
    under which they would be removed, so none is lost, however long it took.

    Raises:
        LibraryError: if something cannot be read or removed.
        AccessError: if the actor may not do this.
    """
    sink, started, before = sink or NullSink(), time.monotonic(), time.time() - grace_seconds
    with reading(library.engine) as connection:
        library.access.check(connection, actor, "administer", "")
    sink.emit(StageStarted("Collect", None, "artifacts"))
    removed: list[str] = []
    num_bytes = done = 0
    for batch in _batches(sha256 for sha256, when in library.artifacts.hashes() if when < before):
        with reading(library.engine) as connection:
            unnamed = unnamed_artifacts(connection, batch)
        if unnamed and not dry_run:
            with writing(library.engine) as connection:
                unnamed, size = _remove(connection, library, unnamed, before, actor)
        else:
            size = sum(_size(library, sha256) for sha256 in unnamed)
        removed += unnamed
        num_bytes += size
        done += len(batch)
        sink.emit(StageAdvanced("Collect", done, f"{len(removed)} unnamed"))
    unfinished = library.artifacts.remove_unfinished(before, only_count=dry_run)
    sink.emit(StageFinished("Collect", time.monotonic() - started))
    return Collected(tuple(sorted(removed)), num_bytes, unfinished)


def unnamed_artifacts(connection: Connection, hashes: list[str]) -> list[str]:
    """Those of `hashes` that no row names."""
    named: set[str] = set()
    for column in naming_columns():
        named.update(connection.scalars(select(column).where(column.in_(hashes)).distinct()))
    return [sha256 for sha256 in hashes if sha256 not in named]


def naming_columns() -> list[Column[str]]:
    """Every column that holds hashes of artifacts: the key of their own table, and what refers to it."""
    key = schema.artifact.c.sha256
    return [key] + [
        column
        for table in schema.metadata.sorted_tables
        for column in table.columns
        if any(reference.column is key for reference in column.foreign_keys)
    ]


def _remove(
    connection: Connection, library: "Library", hashes: list[str], before: float, actor: str
) -> tuple[list[str], int]:
    """Remove those of `hashes` that still are garbage, while nobody else can add rows."""
    lock_rows(connection)
    removed, num_bytes = [], 0
    for sha256 in unnamed_artifacts(connection, hashes):
        when = library.artifacts.written(sha256)
        # Somebody may have written the same bytes again meanwhile.
        if when is not None and when < before:
            num_bytes += _size(library, sha256)
            library.artifacts.remove(sha256)
            removed.append(sha256)
    if removed:
        append_event(connection, COLLECTED, actor, {"artifacts": removed, "bytes": num_bytes})
    return removed, num_bytes


def _size(library: "Library", sha256: str) -> int:
    found = library.artifacts.measure(sha256)
    return 0 if found is None else found.num_bytes


def _batches(hashes: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    for sha256 in hashes:
        batch.append(sha256)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
