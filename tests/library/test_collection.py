import os
import time
from pathlib import Path

import pytest
from sqlalchemy import Connection

from tests.library.prompts import FILE, LINEAGE, add, content_of
from tuningfork.errors import AccessError
from tuningfork.library.access import Action
from tuningfork.library.canonical import hash_bytes
from tuningfork.library.chain import events
from tuningfork.library.collection import COLLECTED, Collected, collect, naming_columns
from tuningfork.library.database import reading
from tuningfork.library.store import Library

OLD = time.time() - 7200


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "artifacts"


def age(folder: Path, sha256: str) -> None:
    os.utime(folder / sha256[:2] / sha256, (OLD, OLD))


def test_old_bytes_that_no_row_names_are_removed_and_told(library: Library, folder: Path) -> None:
    kept = add(library).content.files[FILE]
    garbage, young = library.artifacts.put(b"garbage"), library.artifacts.put(b"young")
    age(folder, kept)
    age(folder, garbage)
    head = library.head()
    assert collect(library, actor="ann", dry_run=True) == Collected((garbage,), 7, 0)
    assert library.artifacts.has(garbage)
    assert library.head() == head
    assert collect(library, actor="ann") == Collected((garbage,), 7, 0)
    assert [library.artifacts.has(sha256) for sha256 in (kept, garbage, young)] == [True, False, True]
    with reading(library.engine) as connection:
        (event,) = events(connection, kind=COLLECTED)
    assert (event.actor, event.payload) == ("ann", {"artifacts": [garbage], "bytes": 7})
    assert collect(library, actor="ann") == Collected((), 0, 0)


def test_grace_can_be_shortened(library: Library) -> None:
    library.artifacts.put(b"garbage")
    assert collect(library, actor="ann", grace_seconds=3600).artifacts == ()
    assert collect(library, actor="ann", grace_seconds=-1).artifacts == (hash_bytes(b"garbage"),)


def test_what_killed_writers_left_is_removed(library: Library, folder: Path) -> None:
    add(library)
    (home,) = folder.iterdir()
    old, young = home / f".{'a' * 64}.123.part", home / f".{'b' * 64}.123.part"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (OLD, OLD))
    assert collect(library, actor="ann", dry_run=True).unfinished == 1
    assert old.exists()
    assert collect(library, actor="ann").unfinished == 1
    assert (old.exists(), young.exists()) == (False, True)


def test_bytes_that_are_written_again_are_young(library: Library, folder: Path) -> None:
    sha256 = library.artifacts.put(b"garbage")
    age(folder, sha256)
    library.artifacts.put(b"garbage")
    assert collect(library, actor="ann").artifacts == ()


def test_a_registration_between_bytes_and_rows_loses_nothing(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Pausing:
        """Stops a registration where its rows begin, until garbage is collected without any grace."""

        def check(self, connection: Connection, actor: str, action: Action, name: str) -> None:
            if action == "register":
                library.artifacts.remove(hash_bytes(b"tensors"))

    monkeypatch.setattr(library, "access", Pausing())
    version = add(library)
    assert dict(library.files(version)) == {FILE: b"tensors"}


def test_a_paused_registration_is_safe_within_grace(library: Library) -> None:
    put = library.artifacts.put

    def put_and_collect(content: bytes) -> str:
        sha256 = put(content)
        assert collect(library, actor="ben").artifacts == ()
        return sha256

    library.artifacts.put = put_and_collect  # type: ignore[method-assign]
    version = library.register("shop/tickets", content_of(), {FILE: b"tensors"}, LINEAGE, author="ann")
    assert dict(library.files(version)) == {FILE: b"tensors"}


def test_every_table_that_names_artifacts_is_asked() -> None:
    assert {f"{column.table.name}.{column.name}" for column in naming_columns()} >= {
        "artifact.sha256",
        "version_artifact.sha256",
        "evidence.sha256",
    }


def test_collecting_needs_the_right(library: Library) -> None:
    class Nobody:
        def check(self, connection: Connection, actor: str, action: Action, name: str) -> None:
            raise AccessError(f"{actor} may not {action}")

    library.access = Nobody()
    with pytest.raises(AccessError, match="ann may not administer"):
        collect(library, actor="ann")


def test_bytes_that_were_written_again_since_they_were_listed_stay(library: Library) -> None:
    sha256 = library.artifacts.put(b"garbage")
    library.artifacts.hashes = lambda: iter([(sha256, OLD)])  # type: ignore[method-assign]
    assert collect(library, actor="ann").artifacts == ()
    assert library.artifacts.has(sha256)
