"""What a library keeps for its gates: evidence of versions, sets of rows, approvals."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Engine, Row

from tuningfork.errors import LibraryError
from tuningfork.library.access import Access, check_reading
from tuningfork.library.approvals import (
    ApprovalRecord,
    add_approval,
    all_approvals,
    withdraw_approval,
)
from tuningfork.library.artifacts import ArtifactStore
from tuningfork.library.canonical import hash_bytes
from tuningfork.library.contents import VersionRecord
from tuningfork.library.database import lock_rows, reading, writing
from tuningfork.library.datasets import (
    DatasetRecord,
    DatasetRole,
    add_dataset,
    find_dataset,
    freeze_dataset,
    keys_file,
    known_dataset,
    list_datasets,
    unused_name,
)
from tuningfork.library.evidence import Evidence, EvidenceKind, write_evidence
from tuningfork.library.evidence_records import (
    EvidenceRecord,
    add_evidence,
    check_binding,
    evidence_of,
    load_evidence,
)
from tuningfork.library.naming import check_alias, read_reference
from tuningfork.library.versions import find_prompt, number_of, read_version, version_row

_ROLES: Mapping[EvidenceKind, DatasetRole] = {
    "evaluation": "test",
    "robustness": "test",
    "bias": "probes",
    "guard": "clean",
    "cost": "test",
}
"""What a set is for that nobody has named before."""


class Governance:
    """The part of a library that gates judge by."""

    engine: Engine
    artifacts: ArtifactStore
    access: Access

    def record_evidence(
        self,
        reference: str,
        evidence: Evidence,
        *,
        author: str,
        summary: Mapping[str, Any] | None = None,
        dataset_name: str = "",
    ) -> EvidenceRecord:
        """Keep evidence of a version, and note its set of rows if that is unknown, not frozen.

        `summary` is only shown. The same evidence again is no other record.

        Raises:
            LibraryError: if there is no such version, the evidence is of another content, or nothing can be
                written.
            AccessError: if `author` may not register here.
        """
        wanted = read_reference(reference)
        # Told before bytes are written for nothing.
        with reading(self.engine) as connection:
            self.access.check(connection, author, "register", wanted.name)
            check_binding(evidence.header, _found(connection, reference)[2])
        keys = None if evidence.header.dataset is None else keys_file(evidence.keys)
        contents = [write_evidence(evidence), *([] if keys is None else [keys])]
        for content in contents:
            self.artifacts.put(content)
        with writing(self.engine) as connection:
            lock_rows(connection)
            self.access.check(connection, author, "register", wanted.name)
            prompt, row, version = _found(connection, reference)
            dataset = evidence.header.dataset
            if keys is not None and dataset is not None and known_dataset(connection, dataset) is None:
                role = _ROLES[evidence.header.kind]
                if dataset_name:
                    self.access.check(connection, author, "register", dataset_name)
                name = dataset_name or unused_name(connection, f"{wanted.name}-{role}")
                add_dataset(connection, name, keys, role=role, author=author)
            made = add_evidence(
                connection, prompt.id, row.id, version, evidence, summary=summary, author=author
            )
            self._keep(*contents)
            return made

    def evidence(self, reference: str, kind: EvidenceKind | None = None) -> list[EvidenceRecord]:
        """What was measured of a version, or of one kind, the newest first.

        Raises:
            LibraryError: if there is no such version.
            AccessError: if whoever acts may not read it.
        """
        with reading(self.engine) as connection:
            row, _ = self._read(connection, reference)
            return evidence_of(connection, row.id, kind)

    def read_evidence(self, reference: str, record: EvidenceRecord) -> Evidence:
        """The rows of evidence of a version, checked.

        Raises:
            LibraryError: if they are missing, were changed, or are of another version.
            AccessError: if whoever acts may not read it.
        """
        with reading(self.engine) as connection:
            row, version = self._read(connection, reference)
            # Anybody can write down the hash of a file.
            known = {one.id: one for one in evidence_of(connection, row.id)}
        if record.id not in known:
            raise LibraryError(f"{version.reference}: there is no evidence {record.id} of it")
        return load_evidence(self.artifacts, known[record.id], version)

    def add_dataset(
        self, name: str, keys: Iterable[str], *, author: str, role: DatasetRole = "test"
    ) -> DatasetRecord:
        """Note a set of rows by their hashes (`data.hashing.hash_example`); a set that is known stays.

        Raises:
            LibraryError: if the name is none, there are no rows, or the set is known in another role.
            AccessError: if `author` may not register under this name.
        """
        content = keys_file(keys)
        self.artifacts.put(content)
        with writing(self.engine) as connection:
            lock_rows(connection)
            self.access.check(connection, author, "register", name)
            made = add_dataset(connection, name, content, role=role, author=author)
            self._keep(content)
            return made

    def freeze_dataset(self, reference: str, *, actor: str) -> DatasetRecord:
        """Have a set of rows stand for good, so that it may be evidence; who approves may say so.

        Raises:
            LibraryError: if there is no such set, or more than one.
            AccessError: if `actor` may not approve under its name.
        """
        with writing(self.engine) as connection:
            lock_rows(connection)
            found = find_dataset(connection, reference)
            self.access.check(connection, actor, "approve", found.name)
            return freeze_dataset(connection, found.sha256, actor=actor)

    def datasets(self, reference: str | None = None) -> list[DatasetRecord]:
        """All sets of rows by name, or those that a version was measured on.

        Raises:
            LibraryError: if there is no such version.
            AccessError: if whoever acts may not read it or, without one, the library as a whole.
        """
        with reading(self.engine) as connection:
            if reference is None:
                check_reading(connection, self.access, "")
                return list_datasets(connection)
            row, _ = self._read(connection, reference)
            measured = {record.dataset for record in evidence_of(connection, row.id)}
            return [one for one in list_datasets(connection) if one.sha256 in measured]

    def approve(self, reference: str, alias: str, approver: str, note: str = "") -> ApprovalRecord:
        """Say yes to a version under an alias.

        Raises:
            LibraryError: if there is no such version, or it was revoked.
            AccessError: if it is the approver's own, or they may not approve here.
        """
        check_alias(alias)
        with writing(self.engine) as connection:
            lock_rows(connection)
            prompt, row, version = _found(connection, reference)
            self.access.check(connection, approver, "approve", f"{prompt.name}@{alias}")
            return add_approval(connection, prompt.id, row.id, version, alias, approver, note)

    def withdraw(self, reference: str, alias: str, approver: str, note: str = "") -> ApprovalRecord:
        """Take back one's approval of a version.

        Raises:
            LibraryError: if there is no such version, or no approval of this person that stands.
            AccessError: if they may not approve here, or are somebody else.
        """
        check_alias(alias)
        with writing(self.engine) as connection:
            lock_rows(connection)
            prompt, row, version = _found(connection, reference)
            self.access.check(connection, approver, "approve", f"{prompt.name}@{alias}")
            return withdraw_approval(connection, prompt.id, row.id, version, alias, approver, note)

    def approvals(self, reference: str) -> list[ApprovalRecord]:
        """Every approval of a version that was ever given, the oldest first.

        Raises:
            LibraryError: if there is no such version.
            AccessError: if whoever acts may not read it.
        """
        with reading(self.engine) as connection:
            row, _ = self._read(connection, reference)
            return all_approvals(connection, row.id)

    def _keep(self, *contents: bytes) -> None:
        """Put back what was taken for garbage before there was a row; the lock keeps it from now on."""
        for content in contents:
            if not self.artifacts.has(hash_bytes(content)):
                self.artifacts.put(content)

    def _read(self, connection: Connection, reference: str) -> tuple[Row[Any], VersionRecord]:
        """The row and the version, if whoever acts may read it."""
        check_reading(connection, self.access, str(read_reference(reference)))
        _, row, version = _found(connection, reference)
        return row, version


def _found(connection: Connection, reference: str) -> tuple[Row[Any], Row[Any], VersionRecord]:
    """The prompt, the version's row, and the version."""
    wanted = read_reference(reference)
    prompt = find_prompt(connection, wanted.name)
    row = version_row(connection, prompt, number_of(connection, prompt, wanted))
    return prompt, row, read_version(connection, prompt, row)
