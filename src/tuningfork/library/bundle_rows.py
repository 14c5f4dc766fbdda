"""Versions from a bundle as rows: new numbers, lineage that says where from, evidence that says so too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from sqlalchemy import Connection, select

from tuningfork.errors import AccessError, LibraryError
from tuningfork.library import schema
from tuningfork.library.access import Access
from tuningfork.library.chain import append_event
from tuningfork.library.contents import ImportOrigin, VersionRecord
from tuningfork.library.datasets import DatasetRole, add_dataset, known_dataset, unused_name
from tuningfork.library.evidence import Evidence
from tuningfork.library.evidence_records import add_evidence, evidence_of
from tuningfork.library.exchange.bundle_file import BundleFile
from tuningfork.library.exchange.manifest import BundledEvidence, BundledVersion
from tuningfork.library.registration import add_registered
from tuningfork.library.versions import find_prompt, read_version, version_row

IMPORTED = "version imported"
BUNDLE = "bundle"


@dataclass(frozen=True, slots=True)
class BundleContents:
    """What was read of the files in a bundle as they were checked."""

    evidence: Mapping[str, Evidence]
    """By the hash of its file."""
    keys: Mapping[str, bytes]
    """Hashes of the rows of a set, by the hash of the set."""


@dataclass(frozen=True, slots=True)
class ImportedVersion:
    """What became of a version in a bundle."""

    version: VersionRecord
    origin: str
    """What it was called where it is from."""
    is_new: bool
    """False where it had been imported before, or was made here."""
    num_evidence: int
    """Files of evidence that came with it and were not here yet."""


@dataclass(frozen=True, slots=True)
class ImportedBundle:
    """What an import did or, in a dry run, would do."""

    versions: tuple[ImportedVersion, ...]
    signer: str
    """The name that the key is trusted under; empty where nobody signed."""
    key: str
    library: str
    """That it is from, by the hash of its first event."""
    not_frozen: tuple[str, ...]
    """Hashes of sets of rows that evidence is about, and that nobody has frozen here."""


def library_identity(connection: Connection) -> str:
    """What tells a library from all others: the hash of its first event.

    Raises:
        LibraryError: if nothing has happened in it yet.
    """
    found = connection.scalar(select(schema.event.c.hash).where(schema.event.c.sequence == 1))
    if found is None:
        raise LibraryError("the library is empty")
    return str(found)


@dataclass(frozen=True, slots=True)
class BundleImport:
    """One import, in its transaction."""

    connection: Connection
    access: Access
    bundle: BundleFile
    contents: BundleContents
    actor: str

    def add_all(self, name: str | None) -> ImportedBundle:
        """Add the versions to the prompts of their names, or all to the one called `name`.

        Raises:
            LibraryError: if the library cannot be written.
            AccessError: if the actor may not register there.
        """
        manifest, signature = self.bundle.manifest, self.bundle.signature
        numbers: dict[tuple[str, int], int] = {}
        versions = []
        for bundled in manifest.versions:
            target = name or bundled.prompt
            self.access.check(self.connection, self.actor, "register", target)
            parent = None if bundled.parent is None else numbers.get((bundled.prompt, bundled.parent))
            version, is_new = self._add_version(target, bundled, parent)
            numbers[bundled.prompt, bundled.number] = version.number
            evidence = self._add_evidence(version, bundled)
            if is_new or evidence:
                self._tell(version, bundled, evidence)
            versions.append(ImportedVersion(version, bundled.reference, is_new, len(evidence)))
        return ImportedBundle(
            tuple(versions),
            signer="" if signature is None else signature.name,
            key="" if signature is None else signature.key,
            library=manifest.library,
            not_frozen=self._not_frozen(),
        )

    def _add_version(
        self, name: str, bundled: BundledVersion, parent: int | None
    ) -> tuple[VersionRecord, bool]:
        origin = self._origin(bundled)
        if known := self._known(name, bundled, origin):
            return known, False
        return add_registered(
            self.connection,
            name,
            bundled.content,
            bundled.lineage.model_copy(update={"imported": origin}),
            sizes={sha256: self.bundle.manifest.objects[sha256] for sha256 in bundled.content.files.values()},
            author=self.actor,
            parent=parent,
            note=bundled.note,
            description=bundled.description,
        )

    def _origin(self, bundled: BundledVersion) -> ImportOrigin:
        signature = self.bundle.signature
        return ImportOrigin(
            kind=BUNDLE,
            place=self.bundle.manifest.library,
            reference=bundled.reference,
            content_hash=bundled.content_hash,
            signer="" if signature is None else signature.name,
            key="" if signature is None else signature.key,
        )

    def _known(self, name: str, bundled: BundledVersion, origin: ImportOrigin) -> VersionRecord | None:
        """The version of this prompt that is this very one: imported before, or made here."""
        prompt = self.connection.execute(select(schema.prompt).where(schema.prompt.c.name == name)).first()
        if prompt is None:
            return None
        rows = self.connection.execute(
            select(schema.version)
            .where(
                schema.version.c.prompt_id == prompt.id,
                schema.version.c.content_hash == bundled.content_hash,
            )
            .order_by(schema.version.c.number.desc())
        ).all()
        is_ours = library_identity(self.connection) == self.bundle.manifest.library
        for row in rows:
            version = read_version(self.connection, prompt, row)
            imported = version.lineage.imported
            if imported is not None and _same_origin(imported, origin):
                return version
            if is_ours and (version.reference, version.lineage) == (bundled.reference, bundled.lineage):
                return version
        return None

    def _add_evidence(self, version: VersionRecord, bundled: BundledVersion) -> list[BundledEvidence]:
        """Add the evidence that is not here yet; it says that it was imported, and from whom."""
        if version.revoked is not None:
            return []
        prompt = find_prompt(self.connection, version.prompt)
        key = version_row(self.connection, prompt, version.number).id
        known = {record.sha256 for record in evidence_of(self.connection, key)}
        added = [each for each in bundled.evidence if each.sha256 not in known]
        for each in added:
            self._add_dataset(version.prompt, each.dataset_sha256)
            origin = {
                "library": self.bundle.manifest.library,
                "author": each.author,
                "created": each.created,
                "signer": "" if self.bundle.signature is None else self.bundle.signature.name,
            }
            add_evidence(
                self.connection,
                prompt.id,
                key,
                version,
                self.contents.evidence[each.sha256],
                summary={**each.summary, "imported": origin},
                author=self.actor,
            )
        return added

    def _add_dataset(self, prompt: str, sha256: str | None) -> None:
        """Note the set of rows that evidence is about, not frozen: who imports decides what to judge by."""
        described = {dataset.sha256: dataset for dataset in self.bundle.manifest.datasets}
        keys = self.contents.keys.get(sha256 or "")
        if sha256 not in described or keys is None or known_dataset(self.connection, sha256) is not None:
            return
        role, name = cast(DatasetRole, described[sha256].role), described[sha256].name
        try:
            self.access.check(self.connection, self.actor, "register", name)
        except AccessError:
            # It may be called so there, and here that is a place of others.
            name = f"{prompt}-{role}"
        add_dataset(self.connection, unused_name(self.connection, name), keys, role=role, author=self.actor)

    def _tell(
        self, version: VersionRecord, bundled: BundledVersion, evidence: Sequence[BundledEvidence]
    ) -> None:
        origin = self._origin(bundled)
        payload = {
            "prompt": version.prompt,
            "number": version.number,
            "content_hash": version.content_hash,
            "origin": origin.model_dump(mode="json"),
            "is_signed": bool(origin.key),
            "author": bundled.author,
            "created": bundled.created,
            "evidence": [each.model_dump(mode="json") for each in evidence],
            "events": [event.model_dump(mode="json") for event in bundled.events],
        }
        prompt = find_prompt(self.connection, version.prompt)
        append_event(self.connection, IMPORTED, self.actor, payload, prompt_id=prompt.id)

    def _not_frozen(self) -> tuple[str, ...]:
        wanted = {
            each.dataset_sha256
            for version in self.bundle.manifest.versions
            for each in version.evidence
            if each.dataset_sha256 is not None
        }
        columns = schema.dataset.c
        frozen = self.connection.scalars(
            select(columns.sha256).where(columns.sha256.in_(wanted), columns.frozen.is_not(None))
        )
        return tuple(sorted(wanted - set(frozen)))


def _same_origin(one: ImportOrigin, other: ImportOrigin) -> bool:
    return (one.kind, one.place, one.reference, one.key) == (
        other.kind,
        other.place,
        other.reference,
        other.key,
    )
