"""Ed25519 keys (RFC 8032): made, kept in files, written down, signed and verified with."""

import base64
import binascii
import os
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tuningfork.atomic import write_text
from tuningfork.errors import FormatError, LibraryError

PUBLIC_SUFFIX = ".pub"
_PREFIX = "ed25519:"
_NUM_KEY_BYTES, _MOST_FILE_BYTES, _LONGEST_NAME = 32, 10_000, 200


@dataclass(frozen=True, slots=True)
class PublicKey:
    """Whom a signature is from."""

    text: str
    """`ed25519:` and the 32 bytes in base 64."""
    name: str = ""
    """What it is called where it was written down; no part of the key."""

    def __post_init__(self) -> None:
        _key_bytes(self.text)

    def has_signed(self, signature: bytes, content: bytes) -> bool:
        """Whether `signature` is that of this key on `content`."""
        try:
            Ed25519PublicKey.from_public_bytes(_key_bytes(self.text)).verify(signature, content)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The secret half; it is never printed."""

    private: Ed25519PrivateKey

    def __repr__(self) -> str:
        return f"SigningKey({self.public.text})"

    @property
    def public(self) -> PublicKey:
        """What others verify with."""
        encoded = base64.b64encode(self.private.public_key().public_bytes_raw()).decode()
        return PublicKey(_PREFIX + encoded)

    def sign(self, content: bytes) -> bytes:
        """The signature on `content`, 64 bytes; the same each time."""
        return self.private.sign(content)


def make_key(path: Path, *, name: str = "") -> PublicKey:
    """Make a new key in the file `path`, which only its owner can read, and beside it `path`.pub for others.

    Raises:
        LibraryError: if one of the files is there already, or cannot be written.
    """
    public_path = path.with_name(path.name + PUBLIC_SUFFIX)
    for taken in (path, public_path):
        if taken.exists() or taken.is_symlink():
            raise LibraryError(
                f"{taken}: exists already, and a key that is overwritten is lost; name another file"
            )
    key = SigningKey(Ed25519PrivateKey.generate())
    content = key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = PublicKey(key.public.text, check_signer(name))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Never readable by others, not even before it has its name; never over what is there.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        write_text(public_path, f"{public.text} {public.name}".rstrip() + "\n")
    except OSError as error:
        raise LibraryError(f"{path}: the key cannot be written ({error.strerror or error})") from error
    return public


def read_signing_key(path: Path) -> SigningKey:
    """The key in a file that `make_key` wrote.

    Raises:
        LibraryError: if there is none, or others can read it.
        FormatError: if it is no Ed25519 key.
    """
    try:
        with path.open("rb") as file:
            mode, content = os.fstat(file.fileno()).st_mode, file.read(_MOST_FILE_BYTES)
    except OSError as error:
        raise LibraryError(f"{path}: the key cannot be read ({error.strerror or error})") from error
    if mode & 0o077 and os.name == "posix":
        raise LibraryError(
            f"{path}: others on this machine can read this key; take that away: chmod 600 {path}"
        )
    try:
        private = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # What the library says may repeat what it read.
        raise FormatError(
            f"{path}: no private key as tuningfork library keygen writes them (PEM, without a password)"
        ) from None
    if not isinstance(private, Ed25519PrivateKey):
        raise FormatError(f"{path}: a key of another kind; expected Ed25519: tuningfork library keygen")
    return SigningKey(private)


def read_public_key(text: str) -> PublicKey:
    """The key that is written down in `text`: itself, with or without a name behind it, or its file.

    Raises:
        FormatError: if it is none.
        LibraryError: if there is no such file.
    """
    if not text.startswith(_PREFIX):
        text = _read_text(Path(text))
    key, _, name = text.strip().partition(" ")
    # First the key: if it is none, nothing else of the text may be shown, as it may be a secret.
    return replace(PublicKey(key), name=check_signer(name))


def check_signer(name: str) -> str:
    """Return `name`, without spaces around it, if people can be called so.

    Raises:
        FormatError: if it is too long, or a terminal would not print it.
    """
    name = name.strip()
    if len(name) > _LONGEST_NAME or not name.isprintable():
        raise FormatError(
            f"the name of a signer is one line of at most {_LONGEST_NAME} characters, found {name!r:.80}"
        )
    return name


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_FILE_BYTES).decode()
    except UnicodeDecodeError:
        raise FormatError(f"{path}: no public key; expected a line ed25519:... (a file *.pub)") from None
    except OSError as error:
        raise LibraryError(
            f"{path}: neither a public key (ed25519:...) nor a file of one ({error.strerror or error})"
        ) from error


def _key_bytes(text: str) -> bytes:
    try:
        content = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        content = b""
    canonical = _PREFIX + base64.b64encode(content).decode()
    if len(content) != _NUM_KEY_BYTES or text != canonical:
        # It may be the private one, so it is not repeated.
        raise FormatError("no public key: expected ed25519: and 44 characters of base 64 (a file *.pub)")
    return content
