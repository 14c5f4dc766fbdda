"""The one way in which a version gets into the tables, whoever brings it."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from tuningfork.library.chain import append_event
from tuningfork.library.contents import Content, Lineage, VersionRecord
from tuningfork.library.versions import add_prompt, add_version, read_version, version_row

REGISTERED = "version registered"


def add_registered(
    connection: Connection,
    name: str,
    content: Content,
    lineage: Lineage,
    *,
    sizes: Mapping[str, int],
    author: str,
    parent: int | None = None,
    note: str = "",
    description: str = "",
) -> tuple[VersionRecord, bool]:
    """Add a version to the prompt `name`, made if it is not there, and the event that says so.

    `sizes` are those of its files, by hash; their bytes lie in the artifact store already. Returns the
    version, and whether it is new: the same content with the same lineage as the newest is that version.

    Raises:
        LibraryError: if there is no version `parent`.
    """
    prompt = add_prompt(connection, name, owner=author, description=description)
    if prompt.last_number:
        newest = read_version(connection, prompt, version_row(connection, prompt, prompt.last_number))
        if (newest.content_hash, newest.lineage) == (content.hash, lineage):
            return newest, False
    if parent is not None:
        version_row(connection, prompt, parent)
    number = add_version(
        connection, prompt, content, lineage, sizes=sizes, author=author, parent=parent, note=note
    )
    added = read_version(connection, prompt, version_row(connection, prompt, number))
    append_event(connection, REGISTERED, author, _told(added), prompt_id=prompt.id)
    return added, True


def _told(version: VersionRecord) -> Mapping[str, Any]:
    """What the event of a new version says; words stand in its row, and their hash here."""
    return {
        "prompt": version.prompt,
        "number": version.number,
        "content_hash": version.content_hash,
        "files": version.content.files,
        "lineage": version.lineage.model_dump(mode="json"),
        "parent": version.parent,
        "note": version.note,
        "created": version.created,
    }
