"""Evidence in a library: recorded for one version, read back and checked against it."""

from collections.abc import Mapping
from typing import Any, cast

from sqlalchemy import Connection, Row, insert, select

from tuningfork.errors import LibraryError
from tuningfork.library import schema
from tuningfork.library.artifacts import ArtifactStore
from tuningfork.library.canonical import canonical_json, hash_bytes, now
from tuningfork.library.chain import append_event
from tuningfork.library.contents import VersionRecord
from tuningfork.library.datasets import known_dataset
from tuningfork.library.evidence import (
    Evidence,
    EvidenceHeader,
    EvidenceKind,
    read_evidence,
    write_evidence,
)
from tuningfork.library.run_records import Record
from tuningfork.library.stored_scores import StoredScores
from tuningfork.library.versions import add_artifact

RECORDED = "evidence recorded"
_SHOWN = 12


class EvidenceRecord(Record):
    """What the library knows of a file of evidence; `summary` is only shown, never trusted."""

    id: int
    kind: EvidenceKind
    content_hash: str
    dataset: str | None
    sha256: str
    """Of the file."""
    summary: dict[str, Any]
    author: str
    created: str


def check_binding(header: EvidenceHeader, version: VersionRecord) -> None:
    """Check that evidence is of this very version.

    Raises:
        LibraryError: if it is of another content.
    """
    if not header.content_hash == version.content_hash == version.content.hash:
        raise LibraryError(
            f"{header.kind} evidence is of content {header.content_hash[:_SHOWN]}, but {version.reference} "
            f"is {version.content.hash[:_SHOWN]}: measure this version"
        )


def add_evidence(
    connection: Connection,
    prompt_id: int,
    version_id: int,
    version: VersionRecord,
    evidence: Evidence,
    *,
    summary: Mapping[str, Any] | None,
    author: str,
) -> EvidenceRecord:
    """Note evidence of a version; the file of `write_evidence` is already in the artifact store.

    Raises:
        LibraryError: if it is of another content, or the version was revoked.
    """
    check_binding(evidence.header, version)
    if version.revoked is not None:
        raise LibraryError(
            f"{version.reference}: was revoked at {version.revoked[:16]}; it needs no evidence"
        )
    content = write_evidence(evidence)
    header, sha256 = evidence.header, hash_bytes(content)
    shown = dict(_summary(evidence) if summary is None else summary)
    try:
        canonical_json(shown)
    except (TypeError, ValueError) as error:
        raise LibraryError(f"a summary is JSON with finite numbers ({error})") from error
    for known in evidence_of(connection, version_id, header.kind):
        if known.sha256 == sha256:
            return known
    add_artifact(connection, sha256, len(content))
    fields = {"kind": header.kind, "content_hash": header.content_hash, "sha256": sha256}
    connection.execute(
        insert(schema.evidence).values(
            version_id=version_id,
            dataset_sha256=header.dataset,
            summary=shown,
            author=author,
            created=now(),
            **fields,
        )
    )
    payload = {
        "prompt": version.prompt,
        "number": version.number,
        "dataset": header.dataset,
        "num_rows": len(evidence.rows),
        **fields,
    }
    append_event(connection, RECORDED, author, payload, prompt_id=prompt_id)
    return evidence_of(connection, version_id, header.kind)[0]


def evidence_of(
    connection: Connection, version_id: int, kind: EvidenceKind | None = None
) -> list[EvidenceRecord]:
    """What was recorded of a version, or of one kind, the newest first."""
    columns = schema.evidence.c
    wanted = select(schema.evidence).where(columns.version_id == version_id)
    if kind is not None:
        wanted = wanted.where(columns.kind == kind)
    return [_record(row) for row in connection.execute(wanted.order_by(columns.id.desc()))]


def load_evidence(artifacts: ArtifactStore, record: EvidenceRecord, version: VersionRecord) -> Evidence:
    """The rows of a record, checked: whole, what the record says, and of this very version.

    Raises:
        LibraryError: if the file is missing or was changed, is of another version, or is not what it says.
    """
    evidence = read_evidence(artifacts.get(record.sha256))
    header = evidence.header
    named = (record.kind, record.content_hash, record.dataset)
    if named != (header.kind, header.content_hash, header.dataset):
        raise LibraryError(
            f"evidence {record.sha256[:_SHOWN]} of {version.reference} is not what its record says: it is "
            f"{header.kind} of content {header.content_hash[:_SHOWN]} on "
            f"{(header.dataset or 'none')[:_SHOWN]}"
        )
    check_binding(header, version)
    return evidence


def dataset_name(connection: Connection, sha256: str | None) -> str:
    """How messages name a set of rows that may be unknown."""
    if sha256 is None:
        return "no set of rows"
    known = known_dataset(connection, sha256)
    return sha256[:_SHOWN] if known is None else known.shown


def _summary(evidence: Evidence) -> dict[str, Any]:
    found: dict[str, Any] = {"rows": len(evidence.rows)}
    if evidence.header.kind == "evaluation":
        try:
            scores = StoredScores.of(evidence)
            found[scores.metric.name] = scores.mean
        except LibraryError:
            # It lacks what its metric needs, which gates say in full.
            pass
    return found


def _record(row: Row[Any]) -> EvidenceRecord:
    return EvidenceRecord(
        id=row.id,
        kind=cast(EvidenceKind, row.kind),
        content_hash=row.content_hash,
        dataset=row.dataset_sha256,
        sha256=row.sha256,
        summary=row.summary,
        author=row.author,
        created=row.created,
    )
