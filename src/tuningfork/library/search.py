"""Search: prompts that have all the words asked for, the best first."""

from collections.abc import Sequence

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Double,
    Float,
    Subquery,
    and_,
    cast,
    column,
    func,
    literal_column,
    or_,
    select,
    table,
)
from sqlalchemy.dialects.postgresql import TSQUERY, TSVECTOR

from tuningfork.errors import LibraryError
from tuningfork.library import schema
from tuningfork.library.access import readable
from tuningfork.library.contents import SearchPage
from tuningfork.library.listing import Filter, conditions, summaries
from tuningfork.library.word_index import KEY_COLUMN, words_of


def search(
    connection: Connection, words: str, wanted: Filter, *, limit: int = 50, after: str | None = None
) -> SearchPage:
    """Prompts that have a word beginning with each of `words`, the best first.

    Names, tags, descriptions and the texts of newest versions are searched; a find in the name counts most,
    one in the text least. `after` is the `next` of the page before. Where somebody acts, only prompts are
    found whose newest version they may read.

    Raises:
        LibraryError: if `words` has none, or `after` is of no page.
    """
    asked = words_of(words)
    if not asked:
        raise LibraryError(f"{words!r:.80}: name words to search for, with letters or digits")
    found = _finds(connection.dialect.name, asked)
    prompt = schema.prompt.c
    behind = []
    if after is not None:
        rank, name = _position(after)
        behind = [or_(found.c.rank > rank, and_(found.c.rank == rank, prompt.name > name))]
    rows = connection.execute(
        select(schema.prompt, found.c.rank)
        .join(found, found.c.prompt_id == prompt.id)
        .where(*conditions(wanted), *readable(connection, newest=True), *behind)
        .order_by(found.c.rank, prompt.name)
        .limit(limit + 1)
    ).all()
    more = len(rows) > limit
    return SearchPage(
        prompts=tuple(summaries(connection, rows[:limit])),
        next=f"{rows[limit - 1].rank!r}:{rows[limit - 1].name}" if more else None,
    )


def _finds(dialect: str, words: Sequence[str]) -> Subquery:
    """Keys of the prompts that have all `words`, and their rank: lower is better.

    A find in the name counts most, then tags, description, text.
    """
    words_table = table("prompt_words", column("words", TSVECTOR))
    rank: ColumnElement[float]
    if dialect == "sqlite":
        asked = " ".join(f'"{word}"*' for word in words)
        matches: ColumnElement[bool] = literal_column("prompt_words").match(asked)
        rank = literal_column("bm25(prompt_words, 10.0, 6.0, 3.0, 1.0)", Float)
    else:
        query = cast(" & ".join(f"{word}:*" for word in words), TSQUERY)
        matches = words_table.c.words.bool_op("@@")(query)
        weights: ColumnElement[str] = literal_column("'{0.1, 0.3, 0.6, 1.0}'")
        rank = -cast(func.ts_rank(weights, words_table.c.words, query), Double)
    key = literal_column(KEY_COLUMN[dialect], BigInteger)
    return (
        select(key.label("prompt_id"), rank.label("rank"))
        .select_from(words_table)
        .where(matches)
        .subquery("found")
    )


def _position(after: str) -> tuple[float, str]:
    rank, _colon, name = after.partition(":")
    try:
        return float(rank), name
    except ValueError:
        raise LibraryError(f"{after!r:.80}: is not the next of a page of finds") from None
