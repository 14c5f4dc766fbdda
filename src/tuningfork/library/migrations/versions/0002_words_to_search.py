"""Words to search prompts by, and what lists of many prompts go by."""

import re
import unicodedata
from hashlib import sha256

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_WEIGHTS = {"name": "A", "tags": "B", "description": "C", "text": "D"}


def upgrade() -> None:
    """Apply the change."""
    op.add_column("prompt", sa.Column("kind", sa.String(length=16), nullable=False, server_default=""))
    op.execute(
        "UPDATE prompt SET kind = COALESCE((SELECT v.kind FROM version v WHERE v.prompt_id = prompt.id "
        "AND v.number = prompt.last_number), '')"
    )
    op.create_index("ix_prompt_owner_name", "prompt", ["owner", "name"])
    op.create_index("ix_prompt_kind_name", "prompt", ["kind", "name"])
    op.create_index("ix_alias_name_prompt_id", "alias", ["name", "prompt_id"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute('ALTER TABLE prompt ALTER COLUMN name TYPE VARCHAR(200) COLLATE "C"')
        op.execute(
            "CREATE TABLE prompt_words (prompt_id BIGINT PRIMARY KEY REFERENCES prompt (id), "
            "words TSVECTOR NOT NULL, source VARCHAR(64) NOT NULL)"
        )
        op.execute("CREATE INDEX ix_prompt_words_words ON prompt_words USING GIN (words)")
    else:
        # The words come as they shall be found, so they are only parted where there are spaces.
        op.execute(
            "CREATE VIRTUAL TABLE prompt_words USING fts5("
            "name, tags, description, text, source UNINDEXED, tokenize='ascii', prefix='2 3')"
        )
    _fill()


def downgrade() -> None:
    """Undo it."""
    op.drop_table("prompt_words")
    if op.get_bind().dialect.name == "postgresql":
        op.execute('ALTER TABLE prompt ALTER COLUMN name TYPE VARCHAR(200) COLLATE "default"')
    op.drop_index("ix_alias_name_prompt_id", table_name="alias")
    op.drop_index("ix_prompt_kind_name", table_name="prompt")
    op.drop_index("ix_prompt_owner_name", table_name="prompt")
    op.drop_column("prompt", "kind")


def _fill() -> None:
    bind = op.get_bind()
    rows = bind.execute(
        sa.text(
            "SELECT p.id, p.name, p.description, v.text FROM prompt p "
            "LEFT JOIN version v ON v.prompt_id = p.id AND v.number = p.last_number"
        )
    ).all()
    tags: dict[int, set[str]] = {}
    for row in bind.execute(sa.text("SELECT prompt_id, tag FROM tag")):
        tags.setdefault(row.prompt_id, set()).add(row.tag)
    for row in rows:
        document = {
            "name": _words(row.name),
            "tags": _words(" ".join(sorted(tags.get(row.id, ())))),
            "description": _words(row.description),
            "text": _words(row.text or ""),
        }
        values = {"key": row.id, "source": sha256("\n".join(document.values()).encode()).hexdigest()}
        if bind.dialect.name == "postgresql":
            insert = sa.text("INSERT INTO prompt_words VALUES (:key, CAST(:words AS tsvector), :source)")
            bind.execute(insert, values | {"words": _vector(document)})
        else:
            insert = sa.text(
                "INSERT INTO prompt_words (rowid, name, tags, description, text, source) "
                "VALUES (:key, :name, :tags, :description, :text, :source)"
            )
            bind.execute(insert, values | document)


def _words(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text[:100_000]).casefold()
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return " ".join(word[:100] for word in re.findall(r"[^\W_]+", plain))


def _vector(document: dict[str, str]) -> str:
    pairs = [(word, _WEIGHTS[field]) for field, words in document.items() for word in words.split()]
    return " ".join(f"{word}:{min(place, 16383)}{weight}" for place, (word, weight) in enumerate(pairs, 1))
