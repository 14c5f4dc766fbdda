"""Replays what events tell of evidence, sets of rows and approvals: none is given by editing rows."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, select

from tuningfork.library import approvals, datasets, evidence_records, schema
from tuningfork.library.problems import Problem
from tuningfork.library.registration import IMPORTED

_SHOWN = 12

EvidenceKey = tuple[int, int, str, str, str, str]
"""Key of the prompt, number, kind, file, content hash, set of rows."""


@dataclass(slots=True)
class ExpectedGovernance:
    """What gates judge by, as the events so far leave it."""

    evidence: Counter[EvidenceKey] = field(default_factory=Counter)
    datasets: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By hash."""
    approvals: dict[tuple[int, int, str, str, str], str | None] = field(default_factory=dict)
    """When each was withdrawn, by key of the prompt, number, alias, approver and time."""

    def follow(self, event: Row[Any], said: Mapping[str, Any]) -> None:
        """Take one more event."""
        match event.kind:
            case evidence_records.RECORDED:
                self._add_evidence(event, said, said, said["dataset"])
            case _ if event.kind == IMPORTED:
                for each in said["evidence"]:
                    self._add_evidence(event, said, each, each["dataset_sha256"])
            case datasets.ADDED:
                fields = {name: said[name] for name in ("name", "num_rows", "role")}
                self.datasets[said["sha256"]] = fields | {"frozen": None}
            case datasets.FROZEN:
                self.datasets[said["sha256"]]["frozen"] = said["frozen"]
            case approvals.APPROVED:
                self.approvals[*_place(event, said), said["time"]] = None
            case approvals.WITHDRAWN:
                given = [
                    key
                    for key, when in self.approvals.items()
                    if key[:4] == _place(event, said) and when is None
                ]
                self.approvals[given[-1]] = said["withdrawn"]

    def wrong(self, connection: Connection) -> Iterator[Problem]:
        """Evidence, sets of rows and approvals that are not what the events say."""
        yield from self._wrong_evidence(connection)
        yield from self._wrong_datasets(connection)
        yield from self._wrong_approvals(connection)

    def _add_evidence(
        self, event: Row[Any], version: Mapping[str, Any], said: Mapping[str, Any], dataset: str | None
    ) -> None:
        place = (event.prompt_id, version["number"])
        self.evidence[*place, said["kind"], said["sha256"], version["content_hash"], dataset or ""] += 1

    def _wrong_evidence(self, connection: Connection) -> Iterator[Problem]:
        left = Counter(self.evidence)
        rows = select(schema.evidence, schema.version.c.prompt_id, schema.version.c.number).join(
            schema.version, schema.version.c.id == schema.evidence.c.version_id
        )
        for row in connection.execute(rows.order_by(schema.evidence.c.id)):
            key = (row.prompt_id, row.number, row.kind, row.sha256, row.content_hash)
            left[*key, row.dataset_sha256 or ""] -= 1
            if left[*key, row.dataset_sha256 or ""] < 0:
                yield Problem("evidence", f"row {row.id}", "no event tells of it as it stands")
        for (_, _, kind, sha256, *_), count in left.items():
            if count > 0:
                what = "events tell of it, and its row is missing or another"
                yield Problem("evidence", f"{kind} {sha256[:_SHOWN]}", what)

    def _wrong_datasets(self, connection: Connection) -> Iterator[Problem]:
        left = dict(self.datasets)
        for row in connection.execute(select(schema.dataset).order_by(schema.dataset.c.sha256)):
            told, where = left.pop(row.sha256, None), f"{row.name} ({row.sha256[:_SHOWN]})"
            if told is None:
                yield Problem("dataset", where, "no event tells of it")
            elif changed := [name for name, value in told.items() if getattr(row, name) != value]:
                yield Problem("dataset", where, f"not what the events say: {', '.join(changed)}")
        for sha256, told in left.items():
            where = f"{told['name']} ({sha256[:_SHOWN]})"
            yield Problem("dataset", where, "events tell of it, and its row is missing")

    def _wrong_approvals(self, connection: Connection) -> Iterator[Problem]:
        left = dict(self.approvals)
        rows = (
            select(schema.approval, schema.version.c.prompt_id, schema.version.c.number)
            .join(schema.version, schema.version.c.id == schema.approval.c.version_id)
            .order_by(schema.approval.c.id)
        )
        for row in connection.execute(rows):
            key, where = (row.prompt_id, row.number, row.alias, row.approver, row.time), f"row {row.id}"
            if key not in left:
                yield Problem("approval", where, "no event tells of it as it stands")
            elif left.pop(key) != row.withdrawn:
                yield Problem("approval", where, "it was withdrawn otherwise than the events say")
        for *_, alias, approver, when in left:
            where = f"{approver} for {alias} at {when[:16]}"
            yield Problem("approval", where, "events tell of it, and its row is missing or another")


def _place(event: Row[Any], said: Mapping[str, Any]) -> tuple[int, int, str, str]:
    return event.prompt_id, said["number"], said["alias"], said["approver"]
