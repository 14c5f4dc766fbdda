import base64
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tuningfork.errors import FormatError, LibraryError
from tuningfork.library.exchange.keys import (
    PublicKey,
    SigningKey,
    check_signer,
    make_key,
    read_public_key,
    read_signing_key,
)

# RFC 8032, section 7.1, test 2.
SECRET = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"
PUBLIC = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
SIGNATURE = (
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)


def written(public: str) -> str:
    return "ed25519:" + base64.b64encode(bytes.fromhex(public)).decode()


def test_signatures_are_those_of_the_standard() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(SECRET)))
    assert key.public.text == written(PUBLIC)
    assert key.sign(b"\x72").hex() == SIGNATURE
    assert key.public.has_signed(bytes.fromhex(SIGNATURE), b"\x72")
    assert not key.public.has_signed(bytes.fromhex(SIGNATURE), b"\x73")
    assert not key.public.has_signed(b"short", b"\x72")
    assert SECRET not in repr(key)


def test_a_new_key_is_its_owners_alone_and_is_not_overwritten(tmp_path: Path) -> None:
    made = make_key(tmp_path / "deep" / "key", name="Ann  ")
    path = tmp_path / "deep" / "key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (tmp_path / "deep" / "key.pub").read_text() == f"{made.text} Ann\n"
    assert read_public_key(str(path) + ".pub") == made == PublicKey(made.text, "Ann")
    assert read_signing_key(path).public.text == made.text
    before = path.read_bytes()
    with pytest.raises(LibraryError, match="key: exists already, and a key that is overwritten is lost"):
        make_key(path)
    path.unlink()
    with pytest.raises(LibraryError, match=r"key\.pub: exists already"):
        make_key(path)
    assert not path.exists()
    assert b"PRIVATE KEY" in before


def test_a_key_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    make_key(tmp_path / "key")
    (tmp_path / "key").chmod(0o640)
    with pytest.raises(LibraryError, match=r"others on this machine can read this key.*chmod 600"):
        read_signing_key(tmp_path / "key")


def test_what_is_no_private_key_is_told_without_repeating_it(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with pytest.raises(LibraryError, match="key: the key cannot be read"):
        read_signing_key(path)
    path.write_text("-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n")
    path.chmod(0o600)
    with pytest.raises(FormatError, match="no private key as tuningfork library keygen writes") as told:
        read_signing_key(path)
    assert "secret" not in str(told.value)
    assert told.value.__cause__ is None
    other = generate_private_key(SECP256R1())
    path.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(FormatError, match="a key of another kind; expected Ed25519"):
        read_signing_key(path)


def test_public_keys_are_read_as_they_are_written(tmp_path: Path) -> None:
    assert read_public_key(f"{written(PUBLIC)} Ann of the shop\n") == PublicKey(
        written(PUBLIC), "Ann of the shop"
    )
    with pytest.raises(LibraryError, match=r"nothing: neither a public key .* nor a file of one"):
        read_public_key("nothing")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(FormatError, match="binary: no public key"):
        read_public_key(str(tmp_path / "binary"))


@pytest.mark.parametrize(
    "text", ["ed25519:", "ed25519:AAAA", written(PUBLIC)[:-1], written(PUBLIC) + "A", written(PUBLIC).upper(),
             f"ed25519:{PUBLIC}", "ed25519: " + written(PUBLIC)[8:]],
)  # fmt: skip
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(FormatError, match="no public key: expected ed25519:"):
        PublicKey(text)


def test_two_ways_to_write_a_key_down_are_not_two_keys() -> None:
    # The last character before = has two bits that are not used.
    text = written(PUBLIC)
    twin = text[:-2] + chr(ord(text[-2]) + 1) + "="
    assert base64.b64decode(twin[8:]) == base64.b64decode(text[8:])
    with pytest.raises(FormatError, match="no public key"):
        PublicKey(twin)


def test_names_of_signers_are_one_line() -> None:
    assert check_signer(" Ann ") == "Ann"
    for name in ("a\nb", "\x1b[2J", "x" * 201):
        with pytest.raises(FormatError, match="the name of a signer is one line"):
            check_signer(name)
