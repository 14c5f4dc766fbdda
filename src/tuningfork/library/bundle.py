"""Versions in one signed file, with everything that belongs to them: out of one library, into another."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from sqlalchemy import Connection, Row, select

from tuningfork.errors import FormatError, LibraryError
from tuningfork.library import schema
from tuningfork.library.belongings import Belongings, belongings, concerns
from tuningfork.library.bundle_rows import BundleContents, BundleImport, ImportedBundle, library_identity
from tuningfork.library.chain import event_hash
from tuningfork.library.database import lock_rows, reading, writing
from tuningfork.library.datasets import DatasetRole
from tuningfork.library.evidence import Evidence, read_evidence, write_evidence
from tuningfork.library.exchange.bundle_file import BundleFile, read_bundle, write_bundle
from tuningfork.library.exchange.foreign import check_content, check_file
from tuningfork.library.exchange.keys import PublicKey, SigningKey, check_signer
from tuningfork.library.exchange.manifest import (
    BundledDataset,
    BundledEvent,
    BundledEvidence,
    BundledVersion,
    Manifest,
    Signer,
)
from tuningfork.library.naming import check_name, read_reference
from tuningfork.library.run_records import Record
from tuningfork.library.store import Library
from tuningfork.library.trust import trusted_keys
from tuningfork.library.versions import find_prompt, number_of

R = TypeVar("R", bound=Record)

_BYTES_PER_ROW = 32
"""Of a set of rows: it is kept as the SHA-256 of each."""


def export_bundle(
    library: Library,
    references: Sequence[str],
    path: Path,
    *,
    actor: str,
    key: SigningKey | None,
    signer: str = "",
) -> Manifest:
    """Write the versions that `references` name to a bundle, signed with `key` in the name of `signer`.

    Raises:
        LibraryError: if there is no such version, one was revoked, or a file is missing or damaged.
        FormatError: if it is too much for one bundle.
        AccessError: if `actor` may not read one of them.
    """
    if not references:
        raise LibraryError("name the versions to export, such as shop/reply@3")
    with reading(library.engine) as connection:
        found: dict[tuple[str, int], Belongings] = {}
        for reference in references:
            wanted = read_reference(reference)
            library.access.check(connection, actor, "read", wanted.name)
            prompt = find_prompt(connection, wanted.name)
            number = number_of(connection, prompt, wanted)
            found[wanted.name, number] = belongings(connection, wanted.name, number)
        identity = library_identity(connection)
        by = None if key is None else Signer(name=check_signer(signer or actor), key=key.public.text)
        manifest = _manifest(connection, library, identity, by, [found[place] for place in sorted(found)])
    write_bundle(path, manifest, library.artifacts.get, key)
    return manifest


def import_bundle(
    library: Library,
    path: Path,
    *,
    actor: str,
    name: str | None = None,
    also_trusted: PublicKey | None = None,
    allows_unsigned: bool = False,
    only_checks: bool = False,
) -> ImportedBundle:
    """Add the versions in a bundle, each as the next one of the prompt of its name, or all of them or none.

    They are read and checked to the last byte before anything is written. Gates decide as ever: evidence
    counts where it is about the same content and a test set that is frozen here.

    Args:
        library: where to.
        path: the bundle.
        actor: who does it; their word is needed for keys that the library does not trust.
        name: of the prompt here; by default what it is called where it is from.
        also_trusted: a key to trust this once.
        allows_unsigned: take a bundle that nobody signed.
        only_checks: write nothing.

    Raises:
        FormatError: if the bundle is forged, changed, truncated, or holds what may be code.
        LibraryError: if whoever signed it is not trusted, or the library cannot be written.
        AccessError: if `actor` may not register there, or may not say whom to trust.
    """
    with reading(library.engine) as connection:
        if also_trusted is not None or allows_unsigned:
            library.access.check(connection, actor, "administer", "")
        trusted = trusted_keys(connection)
    if also_trusted is not None:
        trusted.setdefault(also_trusted.text, also_trusted)
    bundle = read_bundle(path, trusted, allows_unsigned=allows_unsigned)
    contents = _check(bundle, name)
    if not only_checks:
        for sha256, content in bundle.objects():
            if library.artifacts.put(content) != sha256:
                raise FormatError(f"{path}: was changed while it was read")
    try:
        with writing(library.engine) as connection:
            lock_rows(connection)
            imported = BundleImport(connection, library.access, bundle, contents, actor).add_all(name)
            if only_checks:
                raise _OnlyCheckedError
    except _OnlyCheckedError:
        pass
    return imported


class _OnlyCheckedError(Exception):
    """Takes back everything that a transaction wrote."""


def _manifest(
    connection: Connection,
    library: Library,
    identity: str,
    signer: Signer | None,
    found: Sequence[Belongings],
) -> Manifest:
    datasets = {row.sha256: row for each in found for row in each.datasets}
    versions = tuple(_bundled(each) for each in found)
    manifest = Manifest(library=identity, signer=signer, versions=versions, objects={})
    wanted = manifest.needed | {sha256 for sha256 in datasets if library.artifacts.has(sha256)}
    columns = schema.artifact.c
    sizes = connection.execute(
        select(columns.sha256, columns.num_bytes).where(columns.sha256.in_(wanted)).order_by(columns.sha256)
    )
    objects = {row.sha256: row.num_bytes for row in sizes}
    bundled = tuple(
        BundledDataset(sha256=row.sha256, name=row.name, num_rows=row.num_rows, role=row.role)
        for _, row in sorted(datasets.items())
    )
    return manifest.model_copy(update={"objects": objects, "datasets": bundled})


def _bundled(found: Belongings) -> BundledVersion:
    version = found.version
    if version.revoked is not None:
        raise LibraryError(
            f"{version.reference}: was revoked at {version.revoked[:16]}, and a library that imports it "
            "would not know that"
        )
    return BundledVersion(
        **version.model_dump(include=set(BundledVersion.model_fields) - {"content", "lineage"}),
        content=version.content,
        lineage=version.lineage,
        description=found.description,
        evidence=tuple(_plain(BundledEvidence, row) for row in found.evidence),
        events=tuple(_plain(BundledEvent, row) for row in found.events),
    )


def _check(bundle: BundleFile, name: str | None) -> BundleContents:
    """Check that what a bundle says of its versions is so, and that none of it may be code."""
    manifest = bundle.manifest
    try:
        if name is not None:
            check_name(name)
            if len({version.prompt for version in manifest.versions}) > 1:
                raise FormatError("it holds several prompts, so they cannot all have one name")
        places = [(version.prompt, version.number) for version in manifest.versions]
        if places != sorted(set(places)):
            raise FormatError("its versions are not in order, or one is there twice")
        for version in manifest.versions:
            _check_version(version)
        for dataset in manifest.datasets:
            _check_dataset(manifest, dataset)
        return _check_files(bundle)
    except (FormatError, LibraryError) as error:
        problem = str(error).removeprefix(f"{bundle.path}: ")
        raise FormatError(f"{bundle.path}: {problem}; nothing was imported") from error


def _check_files(bundle: BundleFile) -> BundleContents:
    paths: dict[str, set[str]] = {}
    evidence: dict[str, Evidence] = {}
    keys: dict[str, bytes] = {}
    for version in bundle.manifest.versions:
        for file, sha256 in version.content.files.items():
            paths.setdefault(sha256, set()).add(file)
    stated = {each.sha256: each for version in bundle.manifest.versions for each in version.evidence}
    for sha256, content in bundle.objects():
        for file in sorted(paths.get(sha256, ())):
            check_file(file, content)
        if sha256 in stated:
            evidence[sha256] = read_evidence(content)
            if write_evidence(evidence[sha256]) != content:
                raise FormatError(f"evidence {sha256[:12]} is not written as evidence is")
        if sha256 in bundle.manifest.may_be_there:
            keys[sha256] = content
    for version in bundle.manifest.versions:
        for each in version.evidence:
            header = evidence[each.sha256].header
            found = (header.kind, header.content_hash, header.dataset)
            if found != (each.kind, version.content_hash, each.dataset_sha256):
                raise FormatError(
                    f"{version.reference}: evidence {each.sha256[:12]} is about something else than is stated"
                )
    return BundleContents(evidence, keys)


def _check_version(version: BundledVersion) -> None:
    check_name(version.prompt)
    if version.content.hash != version.content_hash:
        raise FormatError(f"{version.reference}: its content is not the one that its hash names")
    try:
        check_content(version.content)
    except FormatError as error:
        raise FormatError(f"{version.reference}: {error}") from error
    for event in version.events:
        try:
            payload = json.loads(event.payload)
            belongs = payload["prompt"] == version.prompt and concerns(payload, version.number)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            belongs = False
        if not belongs or event_hash(event.model_dump()) != event.hash:
            raise FormatError(
                f"{version.reference}: event {event.sequence} of its history was changed, or is another's"
            )


def _check_dataset(manifest: Manifest, dataset: BundledDataset) -> None:
    check_name(dataset.name)
    if dataset.role not in get_args(DatasetRole):
        raise FormatError(f"set of rows {dataset.name}: there is no role {dataset.role!r:.20}")
    size = manifest.objects.get(dataset.sha256)
    if size is not None and size != dataset.num_rows * _BYTES_PER_ROW:
        raise FormatError(
            f"set of rows {dataset.name}: {dataset.num_rows} rows have other hashes than the {size} bytes "
            "there are"
        )


def _plain(record: type[R], row: Row[Any]) -> R:
    return record.model_validate({name: getattr(row, name) for name in record.model_fields})
