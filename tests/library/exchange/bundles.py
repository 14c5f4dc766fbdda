"""Libraries with versions worth carrying elsewhere, and keys to sign with."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save
from sqlalchemy import select

from tests.library.measured import evaluation_of, row_keys
from tests.library.prompts import CONTRACT, LINEAGE
from tuningfork.library.canonical import hash_bytes
from tuningfork.library.chain import broken_links
from tuningfork.library.contents import Content, VersionRecord
from tuningfork.library.database import reading
from tuningfork.library.datasets import keys_file
from tuningfork.library.exchange.keys import PublicKey, SigningKey, make_key, read_signing_key
from tuningfork.library.exchange.manifest import BundledVersion, Manifest, Signer
from tuningfork.library.exchange.members import write_members
from tuningfork.library.store import Library

NAME = "shop/tickets"
TASK = b"""\
name: tickets
type: classification
data: {train: rows.jsonl, inputs: {text: text}, target: label}
prompt: "Say which. {{text}}"
labels: {good: good, bad: bad}
metric: accuracy
"""
ROWS = row_keys(20, "tickets")
KEYS = keys_file(ROWS)
DATASET = hash_bytes(KEYS)


def tensors(value: float = 1.0) -> bytes:
    return bytes(save({"prompt": np.full((2, 3), value, np.float32)}))


def register(
    library: Library, value: float = 1.0, *, name: str = NAME, extra: Mapping[str, bytes] | None = None,
    text: str = "Say which. {{text}}", parent: int | None = None,
) -> VersionRecord:  # fmt: skip
    files = {"prompt.safetensors": tensors(value), "task.yaml": TASK, **(extra or {})}
    content = Content(
        kind="soft",
        text=text,
        contract=CONTRACT,
        files={path: hash_bytes(found) for path, found in files.items()},
    )
    return library.register(
        name, content, files, LINEAGE, author="ann", note="first", description="Queues.", parent=parent
    )


def add_evidence(library: Library, version: VersionRecord, *, score: float = 1.0) -> str:
    """Evaluation evidence of `version`, on a set of rows that is frozen; the hash of its file."""
    evidence = evaluation_of(version, [score] * len(ROWS), name="tickets")
    made = library.record_evidence(version.reference, evidence, author="bob", dataset_name="tickets/test")
    library.freeze_dataset(DATASET, actor="bob")
    return made.sha256


def rows(library: Library, table: Any) -> list[Any]:
    """All rows of a table, of a library whose chain is whole."""
    with reading(library.engine) as connection:
        assert broken_links(connection) == []
        return list(connection.execute(select(table)).all())


def key_in(
    folder: Path, name: str = "signing.key", signer: str = "Shop team"
) -> tuple[SigningKey, PublicKey]:
    public = make_key(folder / name, name=signer)
    return read_signing_key(folder / name), public


FILE = tensors()
OBJECTS = {hash_bytes(FILE): FILE}


def manifest_of(key: SigningKey | None, **fields: Any) -> Manifest:
    content = Content(
        kind="soft", text="Say.", contract=CONTRACT, files={"prompt.safetensors": hash_bytes(FILE)}
    )
    version = BundledVersion(
        prompt="words", description="", number=1, content=content, content_hash=content.hash,
        lineage=LINEAGE, note="", parent=None, author="ann", created="now", evidence=(), events=(),
    )  # fmt: skip
    signer = None if key is None else Signer(name="Shop", key=key.public.text)
    sizes = {sha256: len(found) for sha256, found in OBJECTS.items()}
    known = {"library": "1" * 64, "signer": signer, "versions": (version,), "objects": sizes}
    return Manifest(**known | fields)


def forge(path: Path, manifest: bytes, signature: bytes | None, objects: dict[str, bytes]) -> None:
    """A bundle whose parts need not belong together."""
    found = [("manifest.json", manifest)]
    found += [] if signature is None else [("signature", signature)]
    found += [(f"objects/{name}", objects[name]) for name in sorted(objects)]
    with path.open("wb") as file:
        write_members(file, found)
