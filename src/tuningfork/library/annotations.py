"""What people say of prompts beside their versions: tags, comments, an owner, a description."""

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from tuningfork.errors import LibraryError
from tuningfork.library import schema
from tuningfork.library.access import has_people
from tuningfork.library.canonical import now
from tuningfork.library.chain import append_event
from tuningfork.library.contents import Comment
from tuningfork.library.naming import check_name, read_reference
from tuningfork.library.people import find_person
from tuningfork.library.versions import find_prompt, number_of, version_row
from tuningfork.library.word_index import index_prompt

_TAG = re.compile(r"[a-z0-9][a-z0-9._:=-]*")
_LONGEST_TAG = 100
_WHOLE_PROMPT = 0


def check_tag(tag: str) -> None:
    """Check that `tag` can be one.

    Raises:
        LibraryError: if it cannot.
    """
    if not _TAG.fullmatch(tag) or len(tag) > _LONGEST_TAG:
        raise LibraryError(
            f"{tag!r:.80}: a tag begins with a small letter or a digit and has small letters, digits and "
            f"'.', '_', ':', '=', '-', at most {_LONGEST_TAG} characters, such as language:en"
        )


def add_tag(connection: Connection, target: str, tag: str) -> None:
    """Tag a prompt (`shop/reply`) or one version (`shop/reply@3`, `shop/reply@staging`), if it is not yet.

    Raises:
        LibraryError: if there is no such prompt or version, or `tag` is none.
    """
    check_tag(tag)
    prompt, number = _target(connection, target)
    if tag not in tags_of(connection, prompt.id, number):
        connection.execute(insert(schema.tag).values(prompt_id=prompt.id, number=number or 0, tag=tag))
        index_prompt(connection, prompt.id)


def remove_tag(connection: Connection, target: str, tag: str) -> None:
    """Take a tag away from a prompt or a version.

    Raises:
        LibraryError: if there is no such prompt or version, or it does not have the tag.
    """
    prompt, number = _target(connection, target)
    known = tags_of(connection, prompt.id, number)
    if tag not in known:
        raise LibraryError(f"{target}: has no tag {tag!r:.80}; its tags: {', '.join(known) or 'none'}")
    columns = schema.tag.c
    connection.execute(
        delete(schema.tag).where(
            columns.prompt_id == prompt.id, columns.number == (number or _WHOLE_PROMPT), columns.tag == tag
        )
    )
    index_prompt(connection, prompt.id)


def tags_of(connection: Connection, prompt_id: int, number: int | None = None) -> tuple[str, ...]:
    """The tags of a version or, without a number, of the prompt as a whole."""
    columns = schema.tag.c
    wanted = select(columns.tag).where(
        columns.prompt_id == prompt_id, columns.number == (number or _WHOLE_PROMPT)
    )
    return tuple(connection.scalars(wanted.order_by(columns.tag)))


def version_tags(
    connection: Connection, prompt_id: int, numbers: Sequence[int]
) -> dict[int, tuple[str, ...]]:
    """The tags of versions that have some, by their numbers."""
    columns, found = schema.tag.c, defaultdict[int, list[str]](list)
    wanted = select(columns.number, columns.tag).where(
        columns.prompt_id == prompt_id, columns.number.in_(numbers)
    )
    for row in connection.execute(wanted.order_by(columns.tag)):
        found[row.number].append(row.tag)
    return {number: tuple(tags) for number, tags in found.items()}


def add_comment(connection: Connection, target: str, text: str, *, author: str) -> Comment:
    """Say something of a prompt or of one version, for good.

    Raises:
        LibraryError: if there is no such prompt or version, or nothing is said.
    """
    if not text.strip():
        raise LibraryError(f"{target}: a comment says something, found an empty text")
    prompt, number = _target(connection, target)
    comment = Comment(number=number, author=author, text=text.strip(), time=now())
    connection.execute(insert(schema.comment).values(prompt_id=prompt.id, **comment.model_dump()))
    return comment


def comments_of(connection: Connection, prompt_id: int, *, limit: int | None = None) -> list[Comment]:
    """What was said of a prompt and its versions, the newest first."""
    columns = schema.comment.c
    rows = connection.execute(
        select(columns.number, columns.author, columns.text, columns.time)
        .where(columns.prompt_id == prompt_id)
        .order_by(columns.id.desc())
        .limit(limit)
    )
    return [Comment.model_validate(dict(row._mapping)) for row in rows]


def change_owner(connection: Connection, name: str, owner: str, *, actor: str) -> None:
    """Have a prompt belong to somebody else.

    Raises:
        LibraryError: if there is no such prompt, or nobody is named, or nobody that the library knows.
    """
    if not owner.strip():
        raise LibraryError(f"{name}: name an owner, found an empty text")
    prompt = find_prompt(connection, name)
    if has_people(connection) and find_person(connection, owner).disabled is not None:
        raise LibraryError(f"{name}: {owner} was disabled, and can own nothing")
    if prompt.owner != owner:
        _change(connection, prompt, "owner changed", actor, owner=owner)


def change_description(connection: Connection, name: str, description: str, *, actor: str) -> None:
    """Describe a prompt anew.

    Raises:
        LibraryError: if there is no such prompt.
    """
    prompt = find_prompt(connection, name)
    if prompt.description != description:
        _change(connection, prompt, "description changed", actor, description=description)


def _change(connection: Connection, prompt: Row[Any], kind: str, actor: str, **fields: str) -> None:
    connection.execute(update(schema.prompt).where(schema.prompt.c.id == prompt.id).values(**fields))
    index_prompt(connection, prompt.id)
    before = {name: getattr(prompt, name) for name in fields}
    payload = {"prompt": prompt.name, "before": before, "after": fields}
    append_event(connection, kind, actor, payload, prompt_id=prompt.id)


def _target(connection: Connection, target: str) -> tuple[Row[Any], int | None]:
    """The prompt that `target` names, and which of its versions; a bare name is the prompt as a whole."""
    if "@" not in target:
        check_name(target)
        return find_prompt(connection, target), None
    wanted = read_reference(target)
    prompt = find_prompt(connection, wanted.name)
    return prompt, int(version_row(connection, prompt, number_of(connection, prompt, wanted)).number)
