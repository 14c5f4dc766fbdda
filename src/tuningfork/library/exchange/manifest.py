"""What a bundle says of itself: versions with all that belongs to them, and the hash of every file."""

import json
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, ValidationError

from tuningfork.errors import FormatError, LibraryError
from tuningfork.library.canonical import canonical_json
from tuningfork.library.contents import Content, Lineage
from tuningfork.library.exchange.members import MOST_BYTES, MOST_MEMBERS
from tuningfork.library.run_records import Record

Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Line = Annotated[str, Field(max_length=200)]
Text = Annotated[str, Field(max_length=2**20)]
Size = Annotated[int, Field(ge=0, le=MOST_BYTES)]


class Signer(Record):
    """Who signed; the name is what they call themselves, and only the key counts."""

    name: Line
    key: Line


class BundledEvidence(Record):
    """What was measured of a version; `sha256` is the file of its rows."""

    kind: Annotated[str, Field(min_length=1, max_length=32)]
    dataset_sha256: Hash | None
    summary: dict[str, JsonValue]
    sha256: Hash
    author: Line
    created: Line


class BundledDataset(Record):
    """A set of rows that evidence is about; `sha256` may be the file of its rows' hashes."""

    sha256: Hash
    name: Line
    num_rows: Annotated[int, Field(ge=0)]
    role: Annotated[str, Field(max_length=16)]


class BundledEvent(Record):
    """An event as it stands in the chain of the library that it is from, with its hash."""

    sequence: int
    time: Line
    actor: Line
    kind: Line
    prompt_id: int | None
    payload: str
    previous_hash: Hash
    hash: Hash


class BundledVersion(Record):
    """A version and all that belongs to it."""

    prompt: Line
    description: Text
    number: Annotated[int, Field(ge=1)]
    content: Content
    content_hash: Hash
    lineage: Lineage
    note: Text
    parent: int | None
    author: Line
    created: Line
    evidence: tuple[BundledEvidence, ...]
    events: tuple[BundledEvent, ...]

    @property
    def reference(self) -> str:
        """What it is called where it is from."""
        return f"{self.prompt}@{self.number}"


class Manifest(Record):
    """The first file of a bundle: the one that is signed."""

    format: Literal["tuningfork bundle"] = "tuningfork bundle"
    version: Literal[1] = 1
    library: Hash
    """Hash of the first event of the library that it is from."""
    signer: Signer | None
    versions: Annotated[tuple[BundledVersion, ...], Field(min_length=1, max_length=MOST_MEMBERS)]
    datasets: tuple[BundledDataset, ...] = ()
    objects: dict[Hash, Size]
    """Every file by its SHA-256, with its size in bytes."""

    def as_bytes(self) -> bytes:
        """The one way to write it down."""
        return canonical_json(self.model_dump(mode="json")).encode()

    @property
    def needed(self) -> set[str]:
        """The files that versions and evidence name."""
        return {
            sha256
            for version in self.versions
            for sha256 in (*version.content.files.values(), *(e.sha256 for e in version.evidence))
        }

    @property
    def may_be_there(self) -> set[str]:
        """The files that there may be besides: the rows' hashes of sets that are known by them."""
        return {dataset.sha256 for dataset in self.datasets}


def read_manifest(content: bytes) -> Manifest:
    """The manifest in `content`.

    Raises:
        FormatError: if it is none, or is not written in the one way that there is.
    """
    try:
        found: Any = json.loads(content)
        manifest = Manifest.model_validate(found)
        is_canonical = canonical_json(found).encode() == content
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise FormatError(f"its manifest is wrong at {place or 'the top'}: {first['msg']}") from error
    except LibraryError as error:
        raise FormatError(f"its manifest is wrong: {error}") from error
    except (ValueError, RecursionError) as error:
        raise FormatError(f"its manifest is no JSON ({type(error).__name__})") from error
    if not is_canonical:
        raise FormatError("its manifest is not canonical JSON: something wrote it that is not tuningfork")
    return manifest
