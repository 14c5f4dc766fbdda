"""Moves to ask gates about."""

from collections.abc import Iterator
from contextlib import contextmanager

from tuningfork.library.contents import VersionRecord
from tuningfork.library.database import reading
from tuningfork.library.gates.gate import Move
from tuningfork.library.store import Library
from tuningfork.library.versions import find_prompt, version_row


@contextmanager
def moving(
    library: Library,
    candidate: VersionRecord,
    current: VersionRecord | None = None,
    *,
    alias: str = "production",
    actor: str = "ann",
) -> Iterator[Move]:
    """`alias` about to move from `current` to `candidate`."""
    with reading(library.engine) as connection:
        prompt = find_prompt(connection, candidate.prompt)

        def key(version: VersionRecord) -> int:
            return int(version_row(connection, prompt, version.number).id)

        yield Move(
            connection=connection,
            artifacts=library.artifacts,
            alias=alias,
            candidate=candidate,
            candidate_id=key(candidate),
            current=current,
            current_id=None if current is None else key(current),
            actor=actor,
        )
