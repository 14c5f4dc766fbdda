from pathlib import Path

import pytest
from sqlalchemy import Connection

from tests.library.exchange.bundles import DATASET, KEYS, NAME, ROWS, add_evidence, rows
from tests.library.measured import row_keys
from tuningfork.errors import AccessError, LibraryError
from tuningfork.library import bundle_rows, schema
from tuningfork.library.access import Action, RoleAccess
from tuningfork.library.bundle import export_bundle, import_bundle
from tuningfork.library.exchange.keys import PublicKey, SigningKey
from tuningfork.library.store import Library
from tuningfork.library.verification import verify


def test_evidence_comes_along_bound_as_it_was_and_says_where_from(
    origin: Library, library: Library, keys: tuple[SigningKey, PublicKey], path: Path
) -> None:
    key, public = keys
    export_bundle(origin, [f"{NAME}@2"], path, actor="ann", key=key)
    report = import_bundle(library, path, actor="carl", also_trusted=public)
    (theirs,), (ours,) = rows(origin, schema.evidence), rows(library, schema.evidence)
    for name in ("kind", "content_hash", "dataset_sha256", "sha256"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert library.artifacts.get(ours.sha256) == origin.artifacts.get(theirs.sha256)
    assert ours.author == "carl"
    assert ours.summary == {
        "rows": 20,
        "accuracy": 1.0,
        "imported": {
            "library": report.library, "author": "bob", "created": theirs.created, "signer": "Shop team",
        },
    }  # fmt: skip
    assert report.versions[0].num_evidence == 1
    # Whether a set of rows may be judged by is decided here.
    (dataset,) = rows(library, schema.dataset)
    assert (dataset.sha256, dataset.name, dataset.num_rows, dataset.role) == (
        DATASET,
        "tickets/test",
        len(ROWS),
        "test",
    )
    assert dataset.frozen is None
    assert report.not_frozen == (DATASET,)
    assert library.artifacts.get(DATASET) == KEYS


def test_the_same_bundle_changes_nothing_the_second_time(
    origin: Library, library: Library, keys: tuple[SigningKey, PublicKey], path: Path
) -> None:
    key, public = keys
    export_bundle(origin, [f"{NAME}@1", f"{NAME}@2"], path, actor="ann", key=key)
    import_bundle(library, path, actor="carl", also_trusted=public)
    before = library.head()
    again = import_bundle(library, path, actor="carl", also_trusted=public)
    assert [(done.is_new, done.num_evidence) for done in again.versions] == [(False, 0)] * 2
    assert library.head() == before
    # Evidence that was measured since arrives, without another version.
    later = add_evidence(origin, origin.get(f"{NAME}@2"), score=0.5)
    export_bundle(origin, [f"{NAME}@2"], path, actor="ann", key=key)
    (done,) = import_bundle(library, path, actor="carl", also_trusted=public).versions
    assert (done.is_new, done.num_evidence, done.version.number) == (False, 1, 2)
    assert later in {row.sha256 for row in rows(library, schema.evidence)}


def test_a_library_knows_its_own(origin: Library, keys: tuple[SigningKey, PublicKey], path: Path) -> None:
    key, public = keys
    export_bundle(origin, [f"{NAME}@1"], path, actor="ann", key=key)
    (done,) = import_bundle(origin, path, actor="ann", also_trusted=public).versions
    assert (done.version.reference, done.is_new) == (f"{NAME}@1", False)
    (copy,) = import_bundle(origin, path, actor="ann", also_trusted=public, name="copy").versions
    assert (copy.version.reference, copy.is_new) == ("copy@1", True)


def test_a_library_that_cannot_be_written_has_nothing_of_the_bundle(
    origin: Library,
    tmp_path: Path,
    keys: tuple[SigningKey, PublicKey],
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    export_bundle(origin, [f"{NAME}@1", f"{NAME}@2"], path, actor="ann", key=keys[0])
    with Library(tmp_path / "target") as target:

        def full(*_: object, **__: object) -> None:
            raise LibraryError("disk full")

        monkeypatch.setattr(bundle_rows.BundleImport, "_add_evidence", full)
        with pytest.raises(LibraryError, match="disk full"):
            import_bundle(target, path, actor="carl", also_trusted=keys[1])
        for table in (schema.version, schema.prompt, schema.event):
            assert rows(target, table) == []


def test_what_was_imported_agrees_with_the_events_that_say_so(
    origin: Library, library: Library, keys: tuple[SigningKey, PublicKey], path: Path
) -> None:
    export_bundle(origin, [f"{NAME}@1", f"{NAME}@2"], path, actor="ann", key=keys[0])
    import_bundle(library, path, actor="carl", also_trusted=keys[1])
    found = verify(library)
    assert found.problems == ()


def test_no_evidence_comes_to_a_version_that_was_revoked_here(
    origin: Library, library: Library, keys: tuple[SigningKey, PublicKey], path: Path
) -> None:
    export_bundle(origin, [f"{NAME}@2"], path, actor="ann", key=keys[0])
    import_bundle(library, path, actor="carl", also_trusted=keys[1])
    library.revoke(f"{NAME}@1", actor="carl", reason="wrong")
    add_evidence(origin, origin.get(f"{NAME}@2"), score=0.5)
    export_bundle(origin, [f"{NAME}@2"], path, actor="ann", key=keys[0])
    (done,) = import_bundle(library, path, actor="carl", also_trusted=keys[1]).versions
    assert (done.is_new, done.num_evidence) == (False, 0)
    assert len(rows(library, schema.evidence)) == 1


def test_a_set_of_rows_takes_no_name_that_is_of_others(
    origin: Library, library: Library, keys: tuple[SigningKey, PublicKey], path: Path
) -> None:
    class NotThere(RoleAccess):
        def check(self, connection: Connection, actor: str, action: Action, name: str) -> None:
            if name == "tickets/test":
                raise AccessError("not there")

    export_bundle(origin, [f"{NAME}@2"], path, actor="ann", key=keys[0])
    library.access = NotThere()
    import_bundle(library, path, actor="carl", also_trusted=keys[1])
    assert [row.name for row in rows(library, schema.dataset)] == [f"{NAME}-test"]


def test_a_name_that_is_taken_gets_a_number(
    origin: Library, library: Library, keys: tuple[SigningKey, PublicKey], path: Path
) -> None:
    library.add_dataset("tickets/test", row_keys(3), author="carl")
    export_bundle(origin, [f"{NAME}@2"], path, actor="ann", key=keys[0])
    import_bundle(library, path, actor="carl", also_trusted=keys[1])
    assert [row.name for row in rows(library, schema.dataset)] == ["tickets/test", "tickets/test-2"]


def test_a_set_of_rows_that_is_known_here_stays_what_it_is(
    origin: Library, library: Library, keys: tuple[SigningKey, PublicKey], path: Path
) -> None:
    library.add_dataset("harmless", ROWS, role="clean", author="carl")
    export_bundle(origin, [f"{NAME}@2"], path, actor="ann", key=keys[0])
    import_bundle(library, path, actor="carl", also_trusted=keys[1])
    assert [(row.name, row.role) for row in rows(library, schema.dataset)] == [("harmless", "clean")]
