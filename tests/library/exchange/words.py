"""Text prompts to send elsewhere."""

from typing import Any

from tuningfork.library.contents import Content, Contract, Kind, Lineage, VersionRecord

TEXT = "Answer {{question}} in {{ language }}."


def text_version(
    text: str = TEXT,
    variables: tuple[str, ...] = ("question", "language"),
    *,
    kind: Kind = "text",
    **fields: Any,
) -> VersionRecord:
    contract = Contract(task_type="generation", variables=variables)
    content = Content(kind=kind, text=text, contract=contract)
    known: dict[str, Any] = {
        "prompt": "shop/reply", "number": 3, "content": content, "content_hash": content.hash,
        "lineage": Lineage(origin="text"), "note": "shorter", "parent": None, "author": "ann",
        "created": "now",
    }  # fmt: skip
    return VersionRecord(**known | fields)
