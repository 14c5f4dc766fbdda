"""Lists: the prompts of a library a page at a time, and everything about one prompt on a page."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, select

from tuningfork.library import schema
from tuningfork.library.access import readable
from tuningfork.library.annotations import comments_of, tags_of, version_tags
from tuningfork.library.contents import Kind, PromptPage, PromptSummary
from tuningfork.library.versions import find_prompt, read_versions


@dataclass(frozen=True, slots=True)
class Filter:
    """Which prompts are wanted: those for which all that is set holds."""

    folder: str | None = None
    """`shop` and `shop/` are the same; folders in it count."""
    tag: str | None = None
    """Of the prompt, or of any of its versions."""
    kind: Kind | None = None
    """Of the newest version."""
    alias: str | None = None
    """That points somewhere."""
    owner: str | None = None


def list_prompts(
    connection: Connection, wanted: Filter, *, limit: int = 50, after: str | None = None
) -> list[PromptSummary]:
    """At most `limit` prompts in the order of their names, those behind the name `after`.

    Where somebody acts, those of which they may read anything.
    """
    name = schema.prompt.c.name
    behind = [] if after is None else [name > after]
    rows = connection.execute(
        select(schema.prompt)
        .where(*conditions(wanted), *readable(connection), *behind)
        .order_by(name)
        .limit(limit)
    ).all()
    return summaries(connection, rows)


def summaries(connection: Connection, rows: Sequence[Row[Any]]) -> list[PromptSummary]:
    """What lists say of the prompts in `rows`."""
    keys = [row.id for row in rows]
    aliases: dict[int, dict[str, int]] = defaultdict(dict)
    tags: dict[int, list[str]] = defaultdict(list)
    points = connection.execute(
        select(schema.alias)
        .where(schema.alias.c.prompt_id.in_(keys), schema.alias.c.number.is_not(None))
        .order_by(schema.alias.c.name)
    )
    for alias in points:
        aliases[alias.prompt_id][alias.name] = alias.number
    tagged = connection.execute(
        select(schema.tag.c.prompt_id, schema.tag.c.tag)
        .where(schema.tag.c.prompt_id.in_(keys), schema.tag.c.number == 0)
        .order_by(schema.tag.c.tag)
    )
    for tag in tagged:
        tags[tag.prompt_id].append(tag.tag)
    return [
        PromptSummary(
            name=row.name,
            description=row.description,
            owner=row.owner,
            created=row.created,
            last_number=row.last_number,
            kind=row.kind,
            aliases=aliases[row.id],
            tags=tuple(tags[row.id]),
        )
        for row in rows
    ]


def prompt_page(connection: Connection, name: str, *, limit: int = 20) -> PromptPage:
    """A prompt with its `limit` newest versions, their tags, and as many comments, the newest first.

    Raises:
        LibraryError: if there is no such prompt.
    """
    prompt = find_prompt(connection, name)
    rows = connection.execute(
        select(schema.version)
        .where(schema.version.c.prompt_id == prompt.id)
        .order_by(schema.version.c.number.desc())
        .limit(limit)
    ).all()
    aliases = connection.execute(
        select(schema.alias.c.name, schema.alias.c.number)
        .where(schema.alias.c.prompt_id == prompt.id, schema.alias.c.number.is_not(None))
        .order_by(schema.alias.c.name)
    )
    return PromptPage(
        name=prompt.name,
        description=prompt.description,
        owner=prompt.owner,
        created=prompt.created,
        last_number=prompt.last_number,
        aliases={row.name: row.number for row in aliases},
        tags=tags_of(connection, prompt.id),
        versions=tuple(read_versions(connection, prompt, rows)),
        version_tags=version_tags(connection, prompt.id, [row.number for row in rows]),
        comments=tuple(comments_of(connection, prompt.id, limit=limit)),
    )


def conditions(wanted: Filter) -> list[ColumnElement[bool]]:
    """What must hold of rows of prompts."""
    prompt, found = schema.prompt.c, []
    if wanted.folder is not None:
        # A range of names, so that a page of them is read as it lies in the index: 0 comes behind /.
        folder = wanted.folder.rstrip("/")
        found += [prompt.name > f"{folder}/", prompt.name < f"{folder}0"]
    if wanted.kind is not None:
        found.append(prompt.kind == wanted.kind)
    if wanted.owner is not None:
        found.append(prompt.owner == wanted.owner)
    if wanted.tag is not None:
        tag = schema.tag.c
        found.append(prompt.id.in_(select(tag.prompt_id).where(tag.tag == wanted.tag)))
    if wanted.alias is not None:
        alias = schema.alias.c
        points = select(alias.prompt_id).where(alias.name == wanted.alias, alias.number.is_not(None))
        found.append(prompt.id.in_(points))
    return found
