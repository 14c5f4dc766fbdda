import json

import pytest

from tests.library.exchange.bundles import manifest_of
from tuningfork.errors import FormatError
from tuningfork.library.canonical import canonical_json
from tuningfork.library.exchange.manifest import BundledDataset, read_manifest


def test_it_is_read_back() -> None:
    assert read_manifest(manifest_of(None).as_bytes()) == manifest_of(None)


def test_only_the_one_way_to_write_it_is_read() -> None:
    written = manifest_of(None).as_bytes()
    twice = written[:-1] + b',"version":1}'
    for other in (written + b"\n", json.dumps(json.loads(written)).encode(), twice):
        with pytest.raises(FormatError, match="not canonical JSON"):
            read_manifest(other)
    for other in (b"", b"[" * 100_000, b"\xff", b'{"version":' + b"1" * 5000 + b"}"):
        with pytest.raises(FormatError, match="its manifest is no JSON"):
            read_manifest(other)


@pytest.mark.parametrize(
    ("field", "value", "place"),
    [("format", "zip", "format"), ("version", 2, "version"), ("library", "abc", "library"),
     ("versions", [], "versions"), ("more", 1, "more"), ("objects", {"a" * 64: -1}, "objects")],
)  # fmt: skip
def test_what_is_no_manifest_is_told(field: str, value: object, place: str) -> None:
    found = json.loads(manifest_of(None).as_bytes()) | {field: value}
    with pytest.raises(FormatError, match=f"its manifest is wrong at {place}"):
        read_manifest(canonical_json(found).encode())


def test_it_knows_which_files_it_needs() -> None:
    found = manifest_of(None)
    assert found.needed == set(found.objects)
    assert found.may_be_there == set()
    rows = BundledDataset(sha256="a" * 64, name="rows", num_rows=1, role="test")
    assert found.model_copy(update={"datasets": (rows,)}).may_be_there == {"a" * 64}
