"""The file of a bundle: a manifest, a signature on it, and files by their hash.

| member | holds |
|---|---|
| `manifest.json` | what there is, as canonical JSON, with the SHA-256 of every file |
| `signature` | 64 bytes, Ed25519 on a mark and the manifest; not there in a bundle without a signer |
| `objects/<sha256>` | the files, in the order of their hashes |

The same content signed with the same key is the same file, byte for byte.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tuningfork.atomic import replacing
from tuningfork.errors import FormatError, LibraryError
from tuningfork.library.canonical import hash_bytes
from tuningfork.library.exchange.keys import PublicKey, SigningKey
from tuningfork.library.exchange.manifest import Manifest, read_manifest
from tuningfork.library.exchange.members import MOST_BYTES, MemberReader, write_members

MANIFEST, SIGNATURE, OBJECTS = "manifest.json", "signature", "objects"
_MOST_MANIFEST_BYTES = 2**25
_SIGNATURE_BYTES = 64
_MARK = b"tuningfork bundle 1\n"
"""In front of what is signed, so that a signature on a bundle is none on anything else."""


@dataclass(frozen=True, slots=True)
class Signature:
    """Who vouches for a bundle: a key that is trusted, under the name that it is trusted by."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class BundleFile:
    """A bundle that was read to its end and found whole, and signed as was asked for."""

    path: Path
    manifest: Manifest
    signature: Signature | None
    """None where nobody signed, and that was allowed."""

    def objects(self) -> Iterator[tuple[str, bytes]]:
        """Every file with its hash, checked again as it is read.

        Raises:
            FormatError: if the bundle was changed since.
        """
        with _Opened(self.path) as opened:
            if opened.manifest() != self.manifest.as_bytes():
                raise FormatError(f"{self.path}: was changed while it was read")
            if self.manifest.signer is not None:
                opened.signature()
            yield from opened.objects(self.manifest)


def write_bundle(
    path: Path, manifest: Manifest, read: Callable[[str], bytes], key: SigningKey | None
) -> None:
    """Write a bundle to `path`, whole or not at all; `read` gives a file by its hash.

    Raises:
        LibraryError: if a file is missing or damaged, or `path` cannot be written.
        FormatError: if it is too much for one bundle.
    """
    described = manifest.as_bytes()
    if len(described) > _MOST_MANIFEST_BYTES:
        raise FormatError(
            f"{path}: what the bundle says of itself is larger than {_MOST_MANIFEST_BYTES // 2**20} MiB; "
            "export fewer versions at once"
        )

    def members() -> Iterator[tuple[str, bytes]]:
        yield MANIFEST, described
        if key is not None:
            yield SIGNATURE, key.sign(_MARK + described)
        for sha256 in sorted(manifest.objects):
            yield f"{OBJECTS}/{sha256}", read(sha256)

    try:
        with replacing(path) as temporary, temporary.open("wb") as file:
            write_members(file, members())
    except OSError as error:
        raise LibraryError(f"{path}: cannot be written ({error.strerror or error})") from error


def read_bundle(path: Path, trusted: Mapping[str, PublicKey], *, allows_unsigned: bool = False) -> BundleFile:
    """Read a bundle to its end; nothing of it is kept.

    The signature is checked before anything else that the bundle says is believed.

    Raises:
        FormatError: if it is none, is truncated, or was changed in any byte.
        LibraryError: if it cannot be read, or whoever signed it is not trusted.
    """
    with _Opened(path) as opened:
        described = opened.manifest()
        try:
            manifest = read_manifest(described)
            key = None if manifest.signer is None else PublicKey(manifest.signer.key)
        except FormatError as error:
            raise FormatError(f"{path}: {error}") from error
        signature = None
        if manifest.signer is not None and key is not None:
            if not key.has_signed(opened.signature(), _MARK + described):
                raise FormatError(f"{path}: forged or changed: its signature is not one on its manifest")
            known = trusted.get(key.text)
            if known is None:
                raise LibraryError(
                    f"{path}: signed by {manifest.signer.name!r} with {key.text}, which is not trusted here; "
                    f"if you know that it is theirs: --trust {key.text}"
                )
            signature = Signature(known.name or manifest.signer.name, key.text)
        elif not allows_unsigned:
            raise LibraryError(
                f"{path}: nobody signed this bundle, so anybody may have made it; --allow-unsigned imports "
                "it all the same, and its lineage will say so"
            )
        _check_objects(path, manifest)
        for _ in opened.objects(manifest):
            pass
    return BundleFile(path, manifest, signature)


def _check_objects(path: Path, manifest: Manifest) -> None:
    needed, allowed, found = manifest.needed, manifest.may_be_there, set(manifest.objects)
    if not needed <= found <= needed | allowed:
        strange = sorted(needed - found) or sorted(found - needed - allowed)
        what = "is missing from" if needed - found else "belongs to nothing in"
        raise FormatError(f"{path}: {OBJECTS}/{strange[0][:12]}... {what} the bundle")
    if sum(manifest.objects.values()) > MOST_BYTES:
        raise FormatError(f"{path}: its files would be more than {MOST_BYTES // 2**30} GiB")


class _Opened:
    """A bundle that is being read from its beginning to its end."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> "_Opened":
        try:
            self._file = self._path.open("rb")
        except OSError as error:
            raise LibraryError(f"{self._path}: cannot be read ({error.strerror or error})") from error
        self._members = MemberReader(self._file, self._path)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def manifest(self) -> bytes:
        return self._members.read(MANIFEST, most_bytes=_MOST_MANIFEST_BYTES)

    def signature(self) -> bytes:
        return self._members.read(SIGNATURE, most_bytes=_SIGNATURE_BYTES)

    def objects(self, manifest: Manifest) -> Iterator[tuple[str, bytes]]:
        for sha256, size in sorted(manifest.objects.items()):
            content = self._members.read(f"{OBJECTS}/{sha256}", most_bytes=size)
            if hash_bytes(content) != sha256:
                raise FormatError(
                    f"{self._path}: {OBJECTS}/{sha256[:12]}... was changed: its SHA-256 is another"
                )
            if len(content) != size:
                raise FormatError(f"{self._path}: {OBJECTS}/{sha256[:12]}... has another size than stated")
            yield sha256, content
        self._members.end()
