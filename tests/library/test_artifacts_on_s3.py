"""Artifacts in a bucket of a real server, as another process sees them too."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.library.prompts import add
from tests.library.s3_server import LOGIN, s3_server
from tuningfork.errors import LibraryError
from tuningfork.library.artifacts import open_artifacts
from tuningfork.library.canonical import hash_bytes
from tuningfork.library.places import LibraryPlace
from tuningfork.library.verification import verify

pytestmark = pytest.mark.slow
URL = "s3://bucket/kept"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    for package in ("s3fs", "moto", "flask_cors"):
        pytest.importorskip(package, reason="pip install 'tuningfork[s3]' 'moto[s3]' flask-cors")
    with s3_server() as address:
        yield address


@pytest.fixture
def bucket(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**LOGIN, "AWS_ENDPOINT_URL": address}.items():
        monkeypatch.setenv(name, value)
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    files = s3fs.S3FileSystem()
    if files.exists("bucket"):
        files.rm("bucket", recursive=True)
    files.mkdir("bucket")


def elsewhere(code: str) -> None:
    """Run lines of Python with the store as `store`, in another process."""
    opening = f"from tuningfork.library.artifacts import open_artifacts; store = open_artifacts({URL!r});"
    subprocess.run([sys.executable, "-c", opening + code], check=True, env=dict(os.environ))


def test_what_is_kept_is_given_back_and_measured(bucket: None) -> None:
    store = open_artifacts(URL)
    sha256 = store.put(b"a" * 3_000_000)
    assert store.get(sha256) == b"a" * 3_000_000
    measured = store.measure(sha256)
    assert measured is not None
    assert (measured.sha256, measured.num_bytes) == (sha256, 3_000_000)
    assert [found for found, _ in store.hashes()] == [sha256]
    assert store.measure("0" * 64) is None
    assert store.written("0" * 64) is None


def test_what_another_process_does_is_seen_at_once(bucket: None) -> None:
    store = open_artifacts(URL)
    sha256 = store.put(b"first")
    assert len(list(store.hashes())) == 1
    assert store.has(sha256)
    elsewhere(f"store.put(b'second'); store.remove({sha256!r})")
    assert not store.has(sha256)
    assert [found for found, _ in store.hashes()] == [hash_bytes(b"second")]
    # It was here a moment ago, and still it must be written.
    store.put(b"first")
    assert store.get(sha256) == b"first"


def test_a_library_keeps_its_files_there(bucket: None, tmp_path: Path) -> None:
    place = LibraryPlace.of(str(tmp_path / "library"), URL)
    with place.open() as library:
        version = add(library, tensors=b"in the bucket")
    elsewhere("assert len(list(store.hashes())) >= 1")
    with place.open_existing() as library:
        (sha256,) = version.content.files.values()
        assert library.artifacts.get(sha256) == b"in the bucket"
        assert verify(library).problems == ()


def test_no_bucket_no_server_and_no_login_are_one_line(
    bucket: None, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LibraryError, match=r"s3://misspelt/kept: .* cannot be written .*bucket does not"):
        open_artifacts("s3://misspelt/kept").put(b"a")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(LibraryError, match=r"s3://bucket/kept: cannot be used .*not connect.*the network"):
        open_artifacts(URL).put(b"a")
    with pytest.raises(LibraryError, match=r"s3://bucket/kept: cannot be used .*not connect.*the network"):
        open_artifacts(URL).get("0" * 64)
