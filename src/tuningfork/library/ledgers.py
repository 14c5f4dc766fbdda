"""Tables whose rows are told of by events one by one, in the same order."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, Table, select

from tuningfork.library import schema
from tuningfork.library.actors import signed_name
from tuningfork.library.aliases import MOVED, REFUSED
from tuningfork.library.approvals import APPROVED
from tuningfork.library.evidence_records import RECORDED
from tuningfork.library.problems import Problem
from tuningfork.library.store import POLICY_SET

Told = Callable[[Row[Any], Mapping[str, Any]], Mapping[str, Any]]
"""What a row must hold, by an event and what it says."""
_BATCH = 500


class Ledger:
    """A table whose rows, in order of their keys, are those that events of some kinds tell of, in order."""

    def __init__(
        self,
        connection: Connection,
        name: str,
        kinds: Sequence[str],
        rows: Select[Any],
        told: Told,
    ) -> None:
        self._name, self._kinds, self._told = name, kinds, told
        self._rows = _one_by_one(connection, rows)
        self._is_lost = False

    def follow(self, event: Row[Any], said: Mapping[str, Any]) -> Iterator[Problem]:
        """Compare the next row with this event, if it is of these kinds."""
        if event.kind not in self._kinds or self._is_lost:
            return
        told, row = self._told(event, said), next(self._rows, None)
        if row is None:
            what = f"the row that event {event.sequence} tells of is missing"
        elif differing := [name for name, value in told.items() if getattr(row, name) != value]:
            what = f"row {row.id} is not what event {event.sequence} says: {', '.join(differing)}"
        else:
            return
        # Whether rows behind it were changed too, or only stand in another place, cannot be told.
        self._is_lost = True
        yield Problem(self._name, f"{self._name} of {said.get('prompt') or 'all prompts'}", what)

    def finish(self) -> Iterator[Problem]:
        """What is left when all events were followed."""
        if not self._is_lost and (row := next(self._rows, None)) is not None:
            yield Problem(self._name, f"row {row.id}", "no event tells of it")
        self._rows.close()


def _policy_told(event: Row[Any], said: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "prompt_id": event.prompt_id,
        "alias": said["alias"],
        "gates": said["gates"],
        "author": signed_name(event.actor),
    }


def _gate_run_told(event: Row[Any], said: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "prompt_id": event.prompt_id,
        "number": said["after"],
        "alias": said["alias"],
        "against_number": said["before"],
        "passed": all(gate["passed"] for gate in said["gates"]),
        "results": said["gates"],
        "actor": signed_name(event.actor),
    }


def _approval_told(event: Row[Any], said: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "prompt_id": event.prompt_id,
        "number": said["number"],
        "alias": said["alias"],
        "approver": signed_name(event.actor),
        "note": said["note"],
    }


def _evidence_told(event: Row[Any], said: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "prompt_id": event.prompt_id,
        "number": said["number"],
        "kind": said["kind"],
        "content_hash": said["content_hash"],
        "dataset_sha256": said["dataset"],
        "sha256": said["sha256"],
        "author": signed_name(event.actor),
    }


def _of_versions(table: Table) -> Select[Any]:
    version = schema.version.c
    return (
        select(table, version.prompt_id, version.number)
        .join(schema.version, version.id == table.c.version_id)
        .order_by(table.c.id)
    )


LEDGERS: tuple[tuple[str, Sequence[str], Select[Any], Told], ...] = (
    ("policy", (POLICY_SET,), select(schema.policy).order_by(schema.policy.c.id), _policy_told),
    ("gate run", (MOVED, REFUSED), _of_versions(schema.gate_run), _gate_run_told),
    ("approval", (APPROVED,), _of_versions(schema.approval), _approval_told),
    ("evidence", (RECORDED,), _of_versions(schema.evidence), _evidence_told),
)


def _one_by_one(connection: Connection, wanted: Select[Any]) -> Generator[Row[Any], None, None]:
    # Closed early, it lets go of what the server still holds.
    with connection.execute(wanted.execution_options(yield_per=_BATCH)) as result:
        yield from result
