"""Versions from a bundle as rows: new numbers, lineage that says where from, evidence that says so too."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select

from tuningfork.errors import LibraryError
from tuningfork.library import schema
from tuningfork.library.access import Access
from tuningfork.library.canonical import now
from tuningfork.library.chain import append_event
from tuningfork.library.contents import ImportOrigin, VersionRecord
from tuningfork.library.exchange.bundle_file import BundleFile
from tuningfork.library.exchange.manifest import BundledEvidence, BundledVersion
from tuningfork.library.registration import add_registered
from tuningfork.library.versions import add_artifact, find_prompt, read_version, version_row

IMPORTED = "version imported"
BUNDLE = "bundle"


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
        prompt = find_prompt(self.connection, version.prompt)
        key = version_row(self.connection, prompt, version.number).id
        columns, signature = schema.evidence.c, self.bundle.signature
        rows = self.connection.execute(
            select(columns.kind, columns.sha256).where(columns.version_id == key)
        ).all()
        known = {(row.kind, row.sha256) for row in rows}
        added = [each for each in bundled.evidence if (each.kind, each.sha256) not in known]
        for each in added:
            self._add_dataset(each.dataset_sha256)
            add_artifact(self.connection, each.sha256, self.bundle.manifest.objects[each.sha256])
            origin = {
                "library": self.bundle.manifest.library,
                "author": each.author,
                "created": each.created,
                "signer": "" if signature is None else signature.name,
            }
            self.connection.execute(
                insert(schema.evidence).values(
                    version_id=key,
                    kind=each.kind,
                    content_hash=version.content_hash,
                    dataset_sha256=each.dataset_sha256,
                    summary={**each.summary, "imported": origin},
                    sha256=each.sha256,
                    author=self.actor,
                    created=now(),
                )
            )
        return added

    def _add_dataset(self, sha256: str | None) -> None:
        """Note the set of rows that evidence is about, not frozen: who imports decides what to judge by."""
        described = {dataset.sha256: dataset for dataset in self.bundle.manifest.datasets}
        size = self.bundle.manifest.objects.get(sha256 or "")
        known = select(schema.dataset.c.sha256).where(schema.dataset.c.sha256 == sha256)
        if sha256 not in described or size is None or self.connection.scalar(known) is not None:
            return
        fields = described[sha256].model_dump()
        add_artifact(self.connection, sha256, size)
        self.connection.execute(
            insert(schema.dataset).values(**fields, frozen=None, author=self.actor, created=now())
        )
        append_event(self.connection, "dataset added", self.actor, fields)

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
