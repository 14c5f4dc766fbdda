"""Digests of examples and files, so that a result can name exactly what it was measured on."""

import hashlib
import json
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from tuningfork.data.example import Example
from tuningfork.errors import DataError

_DIGEST_BYTES = 16
"""128 bits: two different rows of a billion share a digest with a chance of about 1e-21."""

# One encoder for all rows: `json.dumps` would make one per row.
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def hash_examples(examples: Iterable[Example]) -> str:
    """Returns the SHA-256, in hex, of what the examples hold, whatever their order.

    Equal sets in another order, or read from another file, have the same hash; a row that occurs twice counts
    twice. It is the SHA-256 of the sorted SHA-256 digests of each row's canonical JSON.
    """
    digests = sorted(bytes.fromhex(hash_example(example)) for example in examples)
    total = hashlib.sha256()
    for digest in digests:
        total.update(digest)
    return total.hexdigest()


def hash_example(example: Example) -> str:
    """Returns the SHA-256, in hex, of what one example holds, by which `hash_examples` counts it."""
    return hashlib.sha256(canonical_json(example).encode()).hexdigest()


def hash_file(path: str | Path) -> str:
    """Returns the SHA-256 of a file's bytes, in hex.

    Raises:
        DataError: If the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Check the path.") from error


def hash_folder(folder: Path) -> str:
    """Returns the SHA-256 of the names and bytes of the files in a folder, but not of folders in it, in hex.

    Raises:
        DataError: If a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        digest.update(f"{path.name}\0{hash_file(path)}\n".encode())
    return digest.hexdigest()


def canonical_json(example: Example) -> str:
    """Returns everything an example holds except its `source`, in one fixed form."""
    messages = [[message.role, message.content] for message in example.messages]
    return _compact_json(
        {"inputs": dict(example.inputs), "messages": messages, "targets": list(example.targets)}
    )


def content_digest(example: Example) -> bytes:
    """Returns 16 bytes that are equal for rows with the same inputs, messages and targets."""
    return _digest(canonical_json(example))


def input_digest(example: Example) -> bytes:
    """Returns 16 bytes that are equal for rows whose input is the same but for case and white space."""
    inputs = {variable: normalize_text(text) for variable, text in example.inputs.items()}
    messages = [[message.role, normalize_text(message.content)] for message in example.messages]
    return _digest(_compact_json({"inputs": inputs, "messages": messages}))


def target_digest(example: Example) -> bytes:
    """Returns 16 bytes, equal for rows whose targets are the same but for case, white space and order."""
    return _digest(_compact_json(sorted(normalize_text(target) for target in example.targets)))


def normalize_text(text: str) -> str:
    """Returns `text` in one Unicode form, without case, with single spaces and none at the ends."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _compact_json(value: object) -> str:
    return _ENCODER.encode(value)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).digest()
