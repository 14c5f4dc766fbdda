import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuningfork.errors import LibraryError
from tuningfork.library.artifacts import ArtifactStore, open_artifacts
from tuningfork.library.canonical import hash_bytes


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    """A folder, and a file system behind a URL as a bucket is."""
    return open_artifacts(
        tmp_path / "kept" if request.param == "folder" else f"memory://{tmp_path.name}/kept"
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.binary(max_size=500))
def test_what_is_kept_is_given_back(store: ArtifactStore, content: bytes) -> None:
    sha256 = store.put(content)
    assert sha256 == hash_bytes(content)
    assert store.has(sha256)
    assert store.get(sha256) == content


def test_equal_bytes_are_kept_once(store: ArtifactStore) -> None:
    assert store.put(b"a") == store.put(b"a")
    store.put(b"b")
    assert sorted(sha256 for sha256, _ in store.hashes()) == sorted([hash_bytes(b"a"), hash_bytes(b"b")])


def test_what_is_removed_is_gone(store: ArtifactStore) -> None:
    sha256 = store.put(b"a")
    store.remove(sha256)
    store.remove(sha256)
    assert not store.has(sha256)
    with pytest.raises(LibraryError, match=r"cannot be read.*verify"):
        store.get(sha256)


@pytest.mark.parametrize("sha256", ["../../../etc/passwd", "", "A" * 64, "a" * 63, "a" * 64 + "/x"])
def test_only_hashes_become_paths(store: ArtifactStore, sha256: str) -> None:
    for ask in (store.get, store.has, store.remove):
        with pytest.raises(LibraryError, match="no SHA-256"):
            ask(sha256)


def test_bytes_that_were_changed_are_refused_and_mended_by_the_same_bytes(tmp_path: Path) -> None:
    store = open_artifacts(tmp_path)
    sha256 = store.put(b"right")
    (tmp_path / sha256[:2] / sha256).write_bytes(b"wrong")
    with pytest.raises(LibraryError, match="damaged or was changed"):
        store.get(sha256)
    store.put(b"right")
    assert store.get(sha256) == b"right"


def test_a_store_that_cannot_be_written_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file where the folder should be")
    store = open_artifacts(tmp_path / "kept")
    with pytest.raises(LibraryError, match=r"artifact of 5 bytes cannot be written.*nothing was registered"):
        store.put(b"right")
    assert os.listdir(tmp_path) == ["kept"]


def test_an_unknown_kind_of_url_is_refused() -> None:
    with pytest.raises(LibraryError, match="no place for artifacts"):
        open_artifacts("nowhere://x")
