"""The words that prompts are found by: made alike for what is kept and what is asked.

No database parts or bends them in its own way: letters without accents in one case, and digits; anything else
parts them. So the same prompts are found on SQLite and PostgreSQL.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnClause, Connection, and_, column, delete, select, table, text

from tuningfork.library import schema
from tuningfork.library.canonical import hash_bytes

KEY_COLUMN = {"sqlite": "rowid", "postgresql": "prompt_id"}
"""Of the table prompt_words, which is one of each database's own kind."""
_WORD = re.compile(r"[^\W_]+")
_LONGEST_WORD = 100
_LONGEST_TEXT = 100_000
"""Characters of a text that are searched; what stands behind them is not found."""
_LAST_PLACE = 16383
"""PostgreSQL counts no further."""
_WEIGHTS = {"name": "A", "tags": "B", "description": "C", "text": "D"}
_BATCH = 500
_WRITE = {
    "sqlite": (
        "INSERT INTO prompt_words (rowid, name, tags, description, text, source) "
        "VALUES (:key, :name, :tags, :description, :text, :source)"
    ),
    "postgresql": (
        "INSERT INTO prompt_words (prompt_id, words, source) VALUES (:key, CAST(:words AS tsvector), :source)"
    ),
}


def words_of(text: str) -> list[str]:
    """The words in `text` as they are kept and asked for."""
    plain = text[:_LONGEST_TEXT]
    if not plain.isascii():
        plain = unicodedata.normalize("NFKD", plain).casefold()
        plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return [word[:_LONGEST_WORD] for word in _WORD.findall(plain.lower())]


def index_prompt(connection: Connection, prompt_id: int) -> None:
    """Have a prompt be found by what its rows say now."""
    index_prompts(connection, [prompt_id])


def index_prompts(connection: Connection, prompt_ids: Sequence[int]) -> None:
    """Have prompts be found by what their rows say now."""
    statement = text(_WRITE[connection.dialect.name])
    key: ColumnClause[int] = column(KEY_COLUMN[connection.dialect.name])
    for first in range(0, len(prompt_ids), _BATCH):
        batch = prompt_ids[first : first + _BATCH]
        documents = _documents(connection, batch)
        connection.execute(delete(table("prompt_words", key)).where(key.in_(batch)))
        if documents:
            connection.execute(statement, [_values(key, found) for key, found in documents.items()])


def stale_prompts(connection: Connection) -> Iterator[tuple[int, str]]:
    """Keys and names of prompts that are not found by what their rows say."""
    key: ColumnClause[int] = column(KEY_COLUMN[connection.dialect.name])
    words = table("prompt_words", key, column("source"))
    last = 0
    columns = schema.prompt.c
    while True:
        rows = connection.execute(
            select(columns.id, columns.name).where(columns.id > last).order_by(columns.id).limit(_BATCH)
        ).all()
        if not rows:
            return
        keys, last = [row.id for row in rows], rows[-1].id
        found = connection.execute(select(key.label("key"), words.c.source).where(key.in_(keys)))
        kept: dict[int, str] = {row.key: row.source for row in found}
        documents = _documents(connection, keys)
        for row in rows:
            if kept.get(row.id) != _source(documents[row.id]):
                yield row.id, row.name


def _documents(connection: Connection, keys: Sequence[int]) -> dict[int, dict[str, str]]:
    """The words of prompts, by field."""
    prompt, version = schema.prompt.c, schema.version.c
    newest = and_(version.prompt_id == prompt.id, version.number == prompt.last_number)
    rows = connection.execute(
        select(prompt.id, prompt.name, prompt.description, version.text)
        .outerjoin_from(schema.prompt, schema.version, newest)
        .where(prompt.id.in_(keys))
    ).all()
    tags: dict[int, set[str]] = defaultdict(set)
    for row in connection.execute(
        select(schema.tag.c.prompt_id, schema.tag.c.tag).where(schema.tag.c.prompt_id.in_(keys))
    ):
        tags[row.prompt_id].add(row.tag)
    fields = {
        row.id: {
            "name": row.name,
            "tags": " ".join(sorted(tags[row.id])),
            "description": row.description,
            "text": row.text or "",
        }
        for row in rows
    }
    return {
        key: {field: " ".join(words_of(said)) for field, said in found.items()}
        for key, found in fields.items()
    }


def _source(document: Mapping[str, str]) -> str:
    return hash_bytes("\n".join(document.values()).encode())


def _values(key: int, document: Mapping[str, str]) -> dict[str, Any]:
    # PostgreSQL takes places of words, and parses nothing.
    pairs = [(word, _WEIGHTS[field]) for field, words in document.items() for word in words.split()]
    vector = " ".join(
        f"{word}:{min(place, _LAST_PLACE)}{weight}" for place, (word, weight) in enumerate(pairs, 1)
    )
    return {"key": key, "source": _source(document), "words": vector, **document}
