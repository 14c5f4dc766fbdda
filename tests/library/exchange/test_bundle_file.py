import json
from pathlib import Path

import pytest

from tests.library.exchange.bundles import FILE, OBJECTS, forge, key_in, manifest_of
from tuningfork.errors import FormatError, LibraryError
from tuningfork.library.canonical import canonical_json, hash_bytes
from tuningfork.library.exchange import bundle_file
from tuningfork.library.exchange.bundle_file import Signature, read_bundle, write_bundle


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "b.tfb"


def test_a_signed_bundle_is_read_back_and_is_always_the_same(path: Path, tmp_path: Path) -> None:
    key, public = key_in(tmp_path)
    write_bundle(path, manifest_of(key), OBJECTS.__getitem__, key)
    first = path.read_bytes()
    read = read_bundle(path, {public.text: public})
    assert read.manifest == manifest_of(key)
    assert read.signature == Signature("Shop team", public.text)
    assert dict(read.objects()) == OBJECTS
    write_bundle(path, manifest_of(key), OBJECTS.__getitem__, key)
    assert path.read_bytes() == first


def test_no_byte_of_a_signed_bundle_can_be_changed(path: Path, tmp_path: Path) -> None:
    key, public = key_in(tmp_path)
    write_bundle(path, manifest_of(key), OBJECTS.__getitem__, key)
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises((FormatError, LibraryError), match=r"b\.tfb: "):
            read_bundle(path, {public.text: public}, allows_unsigned=True)


def test_a_manifest_that_was_changed_is_refused_though_its_checksums_fit(path: Path, tmp_path: Path) -> None:
    key, public = key_in(tmp_path)
    signature = key.sign(b"tuningfork bundle 1\n" + manifest_of(key).as_bytes())
    forge(path, manifest_of(key).as_bytes(), signature, OBJECTS)
    assert read_bundle(path, {public.text: public}).signature is not None
    forge(path, manifest_of(key, library="2" * 64).as_bytes(), signature, OBJECTS)
    for is_allowed in (False, True):
        with pytest.raises(FormatError, match=r"b\.tfb: forged or changed: its signature"):
            read_bundle(path, {public.text: public}, allows_unsigned=is_allowed)
    forge(path, manifest_of(key).as_bytes(), bytes(64), OBJECTS)
    with pytest.raises(FormatError, match="forged or changed"):
        read_bundle(path, {public.text: public})


def test_a_signature_on_the_bare_manifest_is_none(path: Path, tmp_path: Path) -> None:
    key, public = key_in(tmp_path)
    described = manifest_of(key).as_bytes()
    forge(path, described, key.sign(described), OBJECTS)
    with pytest.raises(FormatError, match="forged or changed"):
        read_bundle(path, {public.text: public})


def test_another_key_does_not_pass_for_one_that_is_trusted(path: Path, tmp_path: Path) -> None:
    key, public = key_in(tmp_path)
    forger, forged = key_in(tmp_path, "forger")
    # Signed by the forger, in the name of the key that is trusted.
    described = manifest_of(key).as_bytes()
    forge(path, described, forger.sign(b"tuningfork bundle 1\n" + described), OBJECTS)
    with pytest.raises(FormatError, match="forged or changed"):
        read_bundle(path, {public.text: public})
    # The forger's own, under the name of the other.
    write_bundle(path, manifest_of(forger), OBJECTS.__getitem__, forger)
    for is_allowed in (False, True):
        with pytest.raises(
            LibraryError, match=rf"signed by 'Shop' with {forged.text.replace('+', '.')}, which is"
        ):
            read_bundle(path, {public.text: public}, allows_unsigned=is_allowed)


def test_without_a_signature_it_must_be_allowed(path: Path, tmp_path: Path) -> None:
    key, public = key_in(tmp_path)
    write_bundle(path, manifest_of(None), OBJECTS.__getitem__, None)
    with pytest.raises(LibraryError, match=r"nobody signed this bundle.*--allow-unsigned"):
        read_bundle(path, {public.text: public})
    assert read_bundle(path, {}, allows_unsigned=True).signature is None
    # Taking the signature away leaves a signer who did not sign.
    forge(path, manifest_of(key).as_bytes(), None, OBJECTS)
    with pytest.raises(FormatError, match="signature does not stand where it belongs"):
        read_bundle(path, {public.text: public}, allows_unsigned=True)


def test_files_are_those_of_the_manifest_no_more_no_less(path: Path, tmp_path: Path) -> None:
    (name,) = OBJECTS
    described = manifest_of(None).as_bytes()
    forge(path, described, None, {name: FILE[:-1] + b"x"})
    with pytest.raises(FormatError, match=rf"objects/{name[:12]}\.\.\. was changed: its SHA-256"):
        read_bundle(path, {}, allows_unsigned=True)
    forge(path, described, None, {})
    with pytest.raises(FormatError, match=r"stands? where it belongs|truncated"):
        read_bundle(path, {}, allows_unsigned=True)
    forge(path, described, None, {**OBJECTS, "f" * 64: b"more"})
    with pytest.raises(FormatError, match="its end is not as expected"):
        read_bundle(path, {}, allows_unsigned=True)
    more = manifest_of(None, objects={name: len(FILE), hash_bytes(b"more"): 4}).as_bytes()
    forge(path, more, None, {**OBJECTS, hash_bytes(b"more"): b"more"})
    with pytest.raises(FormatError, match="belongs to nothing in the bundle"):
        read_bundle(path, {}, allows_unsigned=True)
    forge(path, manifest_of(None, objects={}).as_bytes(), None, {})
    with pytest.raises(FormatError, match="is missing from the bundle"):
        read_bundle(path, {}, allows_unsigned=True)
    forge(path, manifest_of(None, objects={name: len(FILE) + 1}).as_bytes(), None, OBJECTS)
    with pytest.raises(FormatError, match="has another size than stated"):
        read_bundle(path, {}, allows_unsigned=True)
    forge(path, manifest_of(None, objects={name: len(FILE) - 1}).as_bytes(), None, OBJECTS)
    with pytest.raises(FormatError, match=r"claims .* bytes, more than"):
        read_bundle(path, {}, allows_unsigned=True)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("../../etc/passwd", "manifest is wrong at objects"), ("A" * 64, "manifest is wrong at objects"),
     ("f" * 64 + "\n", "manifest is wrong at objects")],
)  # fmt: skip
def test_a_name_that_is_no_hash_cannot_be_stated(path: Path, name: str, reason: str) -> None:
    found = json.loads(manifest_of(None).as_bytes())
    found["objects"][name] = 1
    forge(path, canonical_json(found).encode(), None, OBJECTS)
    with pytest.raises(FormatError, match=reason):
        read_bundle(path, {}, allows_unsigned=True)


def test_a_bundle_that_changes_between_check_and_use_is_refused(path: Path) -> None:
    write_bundle(path, manifest_of(None), OBJECTS.__getitem__, None)
    read = read_bundle(path, {}, allows_unsigned=True)
    write_bundle(path, manifest_of(None, library="2" * 64), OBJECTS.__getitem__, None)
    with pytest.raises(FormatError, match="was changed while it was read"):
        list(read.objects())


def test_what_cannot_be_written_or_read_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LibraryError, match=r"b\.tfb: cannot be read \(No such file"):
        read_bundle(path, {})
    with pytest.raises(LibraryError, match="cannot be read"):
        read_bundle(path.parent, {})

    def damaged(sha256: str) -> bytes:
        raise LibraryError("damaged")

    with pytest.raises(LibraryError, match="damaged"):
        write_bundle(path, manifest_of(None), damaged, None)
    assert list(path.parent.iterdir()) == []
    monkeypatch.setattr(bundle_file, "_MOST_MANIFEST_BYTES", 10)
    with pytest.raises(FormatError, match="larger than"):
        write_bundle(path, manifest_of(None), OBJECTS.__getitem__, None)
