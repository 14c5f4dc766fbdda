"""What belongs to a version: its row, evidence with the sets of rows that it is about, and its events."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select

from tuningfork.library import schema
from tuningfork.library.contents import VersionRecord
from tuningfork.library.versions import find_prompt, read_version, version_row


@dataclass(frozen=True, slots=True)
class Belongings:
    """A version, and everything that a library holds of it alone."""

    version: VersionRecord
    description: str
    """Of its prompt."""
    evidence: tuple[Row[Any], ...]
    """Rows of the table, the oldest first; those about another content are left out."""
    datasets: tuple[Row[Any], ...]
    """What its evidence was measured on, as far as the library knows it."""
    events: tuple[Row[Any], ...]
    """That name it, first things first."""


def belongings(connection: Connection, name: str, number: int) -> Belongings:
    """What belongs to version `number` of the prompt `name`.

    Raises:
        LibraryError: if there is no such version.
    """
    prompt = find_prompt(connection, name)
    row = version_row(connection, prompt, number)
    columns, dataset = schema.evidence.c, schema.dataset.c
    evidence = connection.execute(
        select(schema.evidence)
        .where(columns.version_id == row.id, columns.content_hash == row.content_hash)
        .order_by(columns.id)
    ).all()
    hashes = {found.dataset_sha256 for found in evidence if found.dataset_sha256 is not None}
    datasets = connection.execute(
        select(schema.dataset).where(dataset.sha256.in_(hashes)).order_by(dataset.sha256)
    ).all()
    events = connection.execute(
        select(schema.event).where(schema.event.c.prompt_id == prompt.id).order_by(schema.event.c.sequence)
    )
    return Belongings(
        version=read_version(connection, prompt, row),
        description=prompt.description,
        evidence=tuple(evidence),
        datasets=tuple(datasets),
        events=tuple(event for event in events if concerns(json.loads(event.payload), number)),
    )


def concerns(payload: Mapping[str, Any], number: int) -> bool:
    """Whether an event of a prompt with this payload is about its version `number`."""
    return number in (payload.get("number"), payload.get("before"), payload.get("after"))
