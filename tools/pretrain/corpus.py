"""The corpus: documents of three kinds, streamed from one compressed file, and their two splits."""

import hashlib
import json
import lzma
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tuningfork.errors import DataError

Kind = Literal["task", "dialog", "text"]
Split = Literal["train", "validation"]

END_OF_TEXT = "<|endoftext|>"

_FIELDS = {"task": ("prompt", "response"), "dialog": ("text",), "text": ("text",)}
_BYTES_READ_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Document:
    """One document; only a task has a `response`, and its `text` is the prompt."""

    kind: Kind
    source: str
    text: str
    response: str = ""

    @property
    def digest(self) -> bytes:
        """Eight bytes that depend on the content alone."""
        content = "\x00".join((self.source, self.text, self.response))
        return hashlib.blake2b(content.encode(), digest_size=8).digest()


def documents(path: Path) -> Iterator[Document]:
    """Yield the documents of an xz-compressed JSON Lines file, without those that say nothing.

    Raises:
        DataError: The file is missing or broken, or a line is not a document.
    """
    try:
        with lzma.open(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                document = _read(line, f"{path} line {number}")
                if document.text and (document.kind != "task" or document.response):
                    yield document
    except FileNotFoundError:
        raise DataError(f"{path}: there is no corpus here; name one with `corpus:` in the config") from None
    except (EOFError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not an xz file of UTF-8 text ({error})") from None


def split_of(document: Document, validation_share: float) -> Split:
    """Return where a document belongs: the same for the same content, in every source the same share."""
    position = int.from_bytes(document.digest) / 2**64
    return "validation" if position < validation_share else "train"


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of a file."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BYTES_READ_AT_ONCE):
                digest.update(block)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no corpus here; name one with `corpus:` in the config") from None
    return digest.hexdigest()


def _read(line: str, place: str) -> Document:
    try:
        row: Any = json.loads(line)
        kind = row["kind"]
        texts = [_clean(row[name]) for name in _FIELDS[kind]]
        return Document(kind, row["src"], *texts)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{place}: expected an object with `kind` (task, dialog or text), `src` and texts, "
            f"found {line[:60]!r} ({error!r})"
        ) from None


def _clean(text: str) -> str:
    # Some sources carry the end mark of the model they were made for, and line ends of another system.
    return text.replace(END_OF_TEXT, "").replace("\r\n", "\n").strip()
