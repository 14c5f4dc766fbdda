"""Contents and lineages of prompts to fill libraries with."""

from typing import Any

from tuningfork.library.canonical import hash_bytes
from tuningfork.library.contents import Content, Contract, Lineage, VersionRecord
from tuningfork.library.store import Library

CONTRACT = Contract(task_type="classification", variables=("text",), labels=("good", "bad"))
LINEAGE = Lineage(origin="tune", data_hash="d" * 64, test_hash="e" * 64, base_weights="b" * 64)
FILE = "prompt.safetensors"


def content_of(tensors: bytes = b"tensors", text: str = "Say which.", **fields: Any) -> Content:
    known: dict[str, Any] = {"kind": "soft", "contract": CONTRACT, "files": {FILE: hash_bytes(tensors)}}
    return Content(text=text, **known | fields)


def add(
    library: Library, name: str = "shop/tickets", tensors: bytes = b"tensors", **fields: Any
) -> VersionRecord:
    """Register a soft prompt of these bytes; `fields` are those of `Library.register`, or of the content."""
    asked: dict[str, Any] = {"author": "ann", "lineage": LINEAGE} | fields
    contents = {key: asked.pop(key) for key in list(asked) if key in Content.model_fields}
    content = content_of(tensors, **contents)
    return library.register(name, content, {FILE: tensors}, **asked)
