"""Rows of prompts and their versions: found, read and added in a transaction that is given."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, cast

from sqlalchemy import Connection, Row, insert, select, update

from tuningfork.errors import LibraryError
from tuningfork.library import schema
from tuningfork.library.access import readable
from tuningfork.library.canonical import now
from tuningfork.library.contents import Content, Contract, Kind, Lineage, VersionRecord
from tuningfork.library.naming import LATEST, Reference, folder_of
from tuningfork.library.word_index import index_prompt

_MOST_NAMES = 2000
"""Names that are looked through for one that was meant."""
_BATCH = 500


def find_prompt(connection: Connection, name: str) -> Row[Any]:
    """The row of the prompt called `name`.

    Raises:
        LibraryError: if there is none; the message names one that may be meant.
    """
    found = connection.execute(select(schema.prompt).where(schema.prompt.c.name == name)).first()
    if found is not None:
        return found
    # Names that whoever acts may not read are not told.
    wanted = select(schema.prompt.c.name).where(*readable(connection)).limit(_MOST_NAMES)
    names = list(connection.scalars(wanted))
    close = get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]}?" if close else "list them with: tuningfork library list"
    raise LibraryError(f"{name}: there is no such prompt in the library; {hint}")


def number_of(connection: Connection, prompt: Row[Any], reference: Reference) -> int:
    """The number of the version that `reference` names now.

    Raises:
        LibraryError: if the alias points to nothing.
    """
    if reference.number is not None:
        return reference.number
    if reference.alias == LATEST:
        return int(prompt.last_number)
    found = connection.execute(
        select(schema.alias.c.number).where(
            schema.alias.c.prompt_id == prompt.id, schema.alias.c.name == reference.alias
        )
    ).scalar()
    if found is None:
        raise LibraryError(
            f"{reference.name}: nothing is {reference.alias} yet; its newest version is "
            f"{reference.name}@{prompt.last_number}, see: tuningfork library promote --help"
        )
    return int(found)


def version_row(connection: Connection, prompt: Row[Any], number: int) -> Row[Any]:
    """The row of a version.

    Raises:
        LibraryError: if there is none of this number.
    """
    found = connection.execute(
        select(schema.version).where(
            schema.version.c.prompt_id == prompt.id, schema.version.c.number == number
        )
    ).first()
    if found is None:
        raise LibraryError(f"{prompt.name}@{number}: its versions are 1 to {prompt.last_number}")
    return found


def read_version(connection: Connection, prompt: Row[Any], row: Row[Any]) -> VersionRecord:
    """The version in `row`, with its files and the aliases that point to it."""
    return read_versions(connection, prompt, [row])[0]


def read_versions(connection: Connection, prompt: Row[Any], rows: Sequence[Row[Any]]) -> list[VersionRecord]:
    """The versions in `rows`, all of one prompt, with their files and the aliases that point to them."""
    files: dict[int, dict[str, str]] = defaultdict(dict)
    aliases: dict[int, list[str]] = defaultdict(list)
    held, points = schema.version_artifact.c, schema.alias.c
    for first in range(0, len(rows), _BATCH):
        keys = [row.id for row in rows[first : first + _BATCH]]
        for file in connection.execute(
            select(held.version_id, held.path, held.sha256)
            .where(held.version_id.in_(keys))
            .order_by(held.path)
        ):
            files[file.version_id][file.path] = file.sha256
    for alias in connection.execute(
        select(points.name, points.number)
        .where(points.prompt_id == prompt.id, points.number.is_not(None))
        .order_by(points.name)
    ):
        aliases[alias.number].append(alias.name)
    return [
        VersionRecord(
            prompt=prompt.name,
            number=row.number,
            content=content_in(row, files[row.id]),
            content_hash=row.content_hash,
            lineage=Lineage.model_validate(row.lineage),
            note=row.note,
            parent=row.parent_number,
            author=row.author,
            created=row.created,
            revoked=row.revoked,
            aliases=tuple(aliases[row.number]),
        )
        for row in rows
    ]


def content_in(row: Row[Any], files: Mapping[str, str]) -> Content:
    """The content of a version whose `files` have these hashes, by path."""
    return Content(
        kind=cast(Kind, row.kind),
        text=row.text,
        contract=Contract.model_validate(row.contract),
        files=dict(files),
    )


def newest_like(
    connection: Connection,
    name: str,
    *,
    kind: Kind | None = None,
    text: str | None = None,
    content_hash: str | None = None,
) -> int | None:
    """The number of the newest version of a prompt that is so; None if there is none, or no such prompt."""
    columns = schema.version.c
    wanted = (
        select(columns.number)
        .join(schema.prompt, schema.prompt.c.id == columns.prompt_id)
        .where(schema.prompt.c.name == name, columns.revoked.is_(None))
    )
    for column, value in ((columns.kind, kind), (columns.text, text), (columns.content_hash, content_hash)):
        if value is not None:
            wanted = wanted.where(column == value)
    return connection.scalar(wanted.order_by(columns.number.desc()).limit(1))


def file_sizes(connection: Connection, version: VersionRecord) -> dict[str, int]:
    """How many bytes each file of a version has, by its path."""
    hashes = set(version.content.files.values())
    rows = connection.execute(
        select(schema.artifact.c.sha256, schema.artifact.c.num_bytes).where(
            schema.artifact.c.sha256.in_(hashes)
        )
    )
    sizes = {row.sha256: row.num_bytes for row in rows}
    return {path: sizes[sha256] for path, sha256 in version.content.files.items()}


def add_prompt(connection: Connection, name: str, *, owner: str, description: str) -> Row[Any]:
    """The row of the prompt called `name`, made if there is none."""
    found = connection.execute(select(schema.prompt).where(schema.prompt.c.name == name)).first()
    if found is not None:
        return found
    connection.execute(
        insert(schema.prompt).values(
            name=name,
            folder=folder_of(name),
            description=description,
            owner=owner,
            created=now(),
            last_number=0,
        )
    )
    return find_prompt(connection, name)


def add_version(
    connection: Connection,
    prompt: Row[Any],
    content: Content,
    lineage: Lineage,
    *,
    sizes: Mapping[str, int],
    author: str,
    parent: int | None,
    note: str,
) -> int:
    """Add the next version of `prompt`; return its number. `sizes` are those of its files, by hash."""
    number = prompt.last_number + 1
    connection.execute(
        update(schema.prompt)
        .where(schema.prompt.c.id == prompt.id)
        .values(last_number=number, kind=content.kind)
    )
    added = connection.execute(
        insert(schema.version).values(
            prompt_id=prompt.id,
            number=number,
            kind=content.kind,
            content_hash=content.hash,
            text=content.text,
            contract=content.contract.model_dump(mode="json"),
            lineage=lineage.model_dump(mode="json"),
            note=note,
            parent_number=parent,
            author=author,
            created=now(),
        )
    )
    (key,) = cast(Sequence[int], added.inserted_primary_key)
    for sha256, size in sizes.items():
        add_artifact(connection, sha256, size)
    if content.files:
        rows = [{"version_id": key, "path": path, "sha256": sha256} for path, sha256 in content.files.items()]
        connection.execute(insert(schema.version_artifact), rows)
    index_prompt(connection, prompt.id)
    return int(number)


def add_artifact(connection: Connection, sha256: str, num_bytes: int) -> None:
    """Note that bytes in the artifact store are needed."""
    known = connection.scalar(select(schema.artifact.c.sha256).where(schema.artifact.c.sha256 == sha256))
    if known is None:
        connection.execute(insert(schema.artifact).values(sha256=sha256, num_bytes=num_bytes, created=now()))
