"""What people say for a version under an alias: approvals, given and taken back."""

import unicodedata
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from tuningfork.errors import AccessError, LibraryError
from tuningfork.library import schema
from tuningfork.library.canonical import now
from tuningfork.library.chain import append_event
from tuningfork.library.contents import VersionRecord
from tuningfork.library.run_records import Record

APPROVED, WITHDRAWN = "version approved", "approval withdrawn"


class ApprovalRecord(Record):
    """A person's word for a version under an alias."""

    alias: str
    approver: str
    note: str
    time: str
    withdrawn: str | None


def same_person(one: str, other: str) -> bool:
    """Whether two names are one person's, however they are written."""
    return _plain(one) == _plain(other)


def add_approval(
    connection: Connection,
    prompt_id: int,
    version_id: int,
    version: VersionRecord,
    alias: str,
    approver: str,
    note: str,
) -> ApprovalRecord:
    """Approve a version under an alias; who has approved it already has done so once.

    Raises:
        AccessError: if the version is the approver's own.
        LibraryError: if nobody is named, or the version was revoked.
    """
    if not approver.strip():
        raise LibraryError(f"{version.reference}: name who approves it, found an empty name")
    if version.revoked is not None:
        raise LibraryError(
            f"{version.reference}: was revoked at {version.revoked[:16]}; nobody can approve it"
        )
    if same_person(approver, version.author):
        raise AccessError(f"{version.reference}: is {version.author}'s own; somebody else has to approve it")
    for known in standing_approvals(connection, version_id, alias):
        if same_person(known.approver, approver):
            return known
    made = ApprovalRecord(alias=alias, approver=approver, note=note, time=now(), withdrawn=None)
    connection.execute(insert(schema.approval).values(version_id=version_id, **made.model_dump()))
    payload = {"prompt": version.prompt, "number": version.number, "alias": alias, "note": note}
    append_event(connection, APPROVED, approver, payload, prompt_id=prompt_id)
    return made


def withdraw_approval(
    connection: Connection,
    prompt_id: int,
    version_id: int,
    version: VersionRecord,
    alias: str,
    approver: str,
    note: str,
) -> ApprovalRecord:
    """Take back one's approval.

    Raises:
        LibraryError: if there is none of this person that stands.
    """
    when, columns = now(), schema.approval.c
    for row in _standing(connection, version_id, alias):
        if same_person(row.approver, approver):
            connection.execute(update(schema.approval).where(columns.id == row.id).values(withdrawn=when))
            payload = {"prompt": version.prompt, "number": version.number, "alias": alias, "note": note}
            append_event(connection, WITHDRAWN, approver, payload, prompt_id=prompt_id)
            return _record(row).model_copy(update={"withdrawn": when})
    raise LibraryError(f"{version.reference}: {approver} has not approved it for {alias}")


def standing_approvals(connection: Connection, version_id: int, alias: str) -> list[ApprovalRecord]:
    """Approvals of a version under an alias that were not withdrawn, the oldest first."""
    return [_record(row) for row in _standing(connection, version_id, alias)]


def all_approvals(connection: Connection, version_id: int) -> list[ApprovalRecord]:
    """Every approval of a version that was ever given, the oldest first."""
    columns = schema.approval.c
    wanted = select(schema.approval).where(columns.version_id == version_id).order_by(columns.id)
    return [_record(row) for row in connection.execute(wanted)]


def people_beside(approvals: Iterable[ApprovalRecord], *others: str) -> list[str]:
    """Who approved, each once, without `others`."""
    found: dict[str, str] = {}
    for approval in approvals:
        if not any(same_person(approval.approver, other) for other in others):
            found.setdefault(_plain(approval.approver), approval.approver)
    return list(found.values())


def _standing(connection: Connection, version_id: int, alias: str) -> list[Row[Any]]:
    columns = schema.approval.c
    wanted = select(schema.approval).where(
        columns.version_id == version_id, columns.alias == alias, columns.withdrawn.is_(None)
    )
    return list(connection.execute(wanted.order_by(columns.id)))


def _plain(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _record(row: Row[Any]) -> ApprovalRecord:
    return ApprovalRecord(
        alias=row.alias, approver=row.approver, note=row.note, time=row.time, withdrawn=row.withdrawn
    )
