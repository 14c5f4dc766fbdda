from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, update

from tests.library.measured import evaluation_of, evidence_from, measure, record, row_keys
from tests.library.prompts import add
from tuningfork.errors import LibraryError
from tuningfork.library import governance, schema
from tuningfork.library.chain import events
from tuningfork.library.contents import VersionRecord
from tuningfork.library.database import lock_rows, reading, writing
from tuningfork.library.evidence import write_evidence
from tuningfork.library.evidence_records import RECORDED, EvidenceRecord
from tuningfork.library.store import Library


def change_row(library: Library, made: EvidenceRecord, **fields: Any) -> None:
    """Change a record behind the library's back."""
    with writing(library.engine) as connection:
        connection.execute(update(schema.evidence).where(schema.evidence.c.id == made.id).values(**fields))


def read_newest(library: Library, version: VersionRecord) -> object:
    return library.read_evidence(version.reference, library.evidence(version.reference)[0])


def test_evidence_is_kept_with_its_rows_and_told(library: Library) -> None:
    version = add(library)
    evidence = evaluation_of(version, [1, 0, 1])
    made = library.record_evidence(version.reference, evidence, author="bob")
    assert library.read_evidence(version.reference, made) == evidence
    assert library.artifacts.get(made.sha256) == write_evidence(evidence)
    assert (made.kind, made.content_hash, made.author) == ("evaluation", version.content_hash, "bob")
    assert made.dataset == evidence.header.dataset
    assert made.summary == {"rows": 3, "accuracy": 2 / 3}
    with reading(library.engine) as connection:
        (event,) = events(connection, kind=RECORDED)
    assert event.actor == "bob"
    assert event.payload == {
        "prompt": "shop/tickets",
        "number": 1,
        "kind": "evaluation",
        "content_hash": version.content_hash,
        "dataset": made.dataset,
        "sha256": made.sha256,
        "num_rows": 3,
    }


def test_its_set_of_rows_becomes_known_but_not_frozen(library: Library) -> None:
    version = add(library)
    library.record_evidence(version.reference, evaluation_of(version, [1, 0]), author="bob")
    (known,) = library.datasets()
    assert (known.name, known.role, known.num_rows, known.frozen) == ("shop/tickets-test", "test", 2, None)
    library.record_evidence(version.reference, evaluation_of(version, [1, 0], name="more"), author="bob")
    assert [one.name for one in library.datasets()] == ["shop/tickets-test", "shop/tickets-test-2"]
    clean = evidence_from(version, "guard", [{"row": key, "is_blocked": False} for key in row_keys(3)])
    library.record_evidence(version.reference, clean, author="bob", dataset_name="harmless")
    assert {(one.name, one.role) for one in library.datasets()} == {
        ("shop/tickets-test", "test"),
        ("shop/tickets-test-2", "test"),
        ("harmless", "clean"),
    }


def test_the_same_evidence_again_is_no_other(library: Library) -> None:
    version = add(library)
    first = measure(library, version, [1, 0, 1])
    head = library.head()
    assert measure(library, version, [1, 0, 1]) == first
    assert library.head() == head
    second = measure(library, version, [1, 1, 1])
    assert library.evidence(version.reference) == [second, first]
    assert library.evidence(version.reference, "bias") == []


def test_evidence_of_another_content_is_refused(library: Library) -> None:
    one, other = add(library), add(library, tensors=b"other")
    head = library.head()
    with pytest.raises(LibraryError, match=f"is of content {one.content_hash[:12]}, but shop/tickets@2"):
        library.record_evidence(other.reference, evaluation_of(one, [1, 0]), author="bob")
    assert library.head() == head
    assert library.evidence(other.reference) == []


def test_a_revoked_version_is_not_measured(library: Library) -> None:
    version = add(library)
    library.revoke(version.reference, actor="ann", reason="rude")
    with pytest.raises(LibraryError, match="was revoked at"):
        measure(library, version, [1, 0])


def test_a_summary_is_shown_and_can_be_written_down(library: Library) -> None:
    version = add(library)
    evidence = evaluation_of(version, [0, 0])
    made = library.record_evidence(version.reference, evidence, author="bob", summary={"accuracy": 1.0})
    assert made.summary == {"accuracy": 1.0}
    other = evaluation_of(version, [0, 1])
    with pytest.raises(LibraryError, match="a summary is JSON with finite numbers"):
        library.record_evidence(version.reference, other, author="bob", summary={"accuracy": float("nan")})


def test_a_file_that_was_changed_is_refused(library: Library, tmp_path: Path) -> None:
    version = add(library)
    made = measure(library, version, [1, 0, 1])
    path = tmp_path / "artifacts" / made.sha256[:2] / made.sha256
    path.write_bytes(path.read_bytes().replace(b'"score":0.0', b'"score":1.0'))
    with pytest.raises(LibraryError, match="is damaged or was changed"):
        read_newest(library, version)
    path.unlink()
    with pytest.raises(LibraryError, match="cannot be read"):
        read_newest(library, version)


def test_a_record_that_names_another_file_is_refused(library: Library) -> None:
    one, other = add(library), add(library, tensors=b"other")
    bad, good = measure(library, one, [0, 0, 1]), measure(library, other, [1, 1, 1])
    change_row(library, bad, sha256=good.sha256)
    with pytest.raises(LibraryError, match="of shop/tickets@1 is not what its record says"):
        read_newest(library, one)
    # Nor does it help to change what the record says with it.
    change_row(library, bad, content_hash=good.content_hash)
    with pytest.raises(LibraryError, match="evaluation evidence is of content"):
        read_newest(library, one)


@pytest.mark.parametrize("fields", [{"dataset_sha256": "0" * 64}, {"dataset_sha256": None}, {"kind": "cost"}])
def test_a_record_that_says_something_else_is_refused(library: Library, fields: dict[str, Any]) -> None:
    version = add(library)
    change_row(library, measure(library, version, [0, 0, 1]), **fields)
    with pytest.raises(LibraryError, match="is not what its record says"):
        read_newest(library, version)


def test_a_version_whose_content_was_exchanged_has_no_evidence(library: Library) -> None:
    version = add(library)
    measure(library, version, [1, 1, 1])
    with writing(library.engine) as connection:
        connection.execute(update(schema.version).values(text="Say something rude."))
    with pytest.raises(LibraryError, match="evaluation evidence is of content"):
        read_newest(library, version)


def test_evidence_without_a_set_makes_none(library: Library) -> None:
    version = add(library)
    calls = [{"row": key, "latency_seconds": 0.1} for key in row_keys(3)]
    made = record(library, version, evidence_from(version, "cost", calls))
    assert made.dataset is None
    assert library.datasets() == []


def test_what_was_collected_before_there_was_a_row_is_put_back(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = add(library)

    def collected_first(connection: Connection) -> None:
        lock_rows(connection)
        for sha256, _ in list(library.artifacts.hashes()):
            if sha256 not in version.content.files.values():
                library.artifacts.remove(sha256)

    monkeypatch.setattr(governance, "lock_rows", collected_first)
    evidence = evaluation_of(version, [1, 0])
    made = library.record_evidence(version.reference, evidence, author="ann")
    assert library.read_evidence(version.reference, made) == evidence
    added = library.add_dataset("more", row_keys(3), author="ann")
    assert library.artifacts.has(added.sha256)
