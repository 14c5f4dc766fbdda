"""The tables of the library. What is written is never changed, but for the columns that say so."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_HASH, _TIME, _NAME = String(64), String(32), String(200)
# Lists go by name in the same order on every server, and a folder is a range of names.
_SORTED_NAME = String(200).with_variant(String(200, collation="C"), "postgresql")
# SQLite counts rows only in a column of exactly this type.
_KEY = BigInteger().with_variant(Integer, "sqlite")

prompt = Table(
    "prompt",
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("name", _SORTED_NAME, nullable=False, unique=True),
    Column("folder", _NAME, nullable=False, index=True),
    Column("description", Text, nullable=False),
    Column("owner", _NAME, nullable=False),
    Column("created", _TIME, nullable=False),
    Column("last_number", Integer, nullable=False),
    Column("kind", String(16), nullable=False, server_default=""),
    Index("ix_prompt_owner_name", "owner", "name"),
    Index("ix_prompt_kind_name", "kind", "name"),
)
"""A name; `description`, `owner`, and `last_number` and `kind`, those of its newest version, change."""

version = Table(
    "version",
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("prompt_id", ForeignKey("prompt.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("content_hash", _HASH, nullable=False, index=True),
    Column("text", Text, nullable=False),
    Column("contract", JSON, nullable=False),
    Column("lineage", JSON, nullable=False),
    Column("note", Text, nullable=False),
    Column("parent_number", Integer),
    Column("author", _NAME, nullable=False),
    Column("created", _TIME, nullable=False, index=True),
    Column("revoked", _TIME),
    UniqueConstraint("prompt_id", "number"),
)
"""One state of a prompt, for good; only `revoked`, when it was taken out of use, is set once."""

artifact = Table(
    "artifact",
    metadata,
    Column("sha256", _HASH, primary_key=True),
    Column("num_bytes", BigInteger, nullable=False),
    Column("created", _TIME, nullable=False),
)
"""Bytes in the artifact store that some row needs."""

version_artifact = Table(
    "version_artifact",
    metadata,
    Column("version_id", ForeignKey("version.id"), primary_key=True),
    Column("path", _NAME, primary_key=True),
    Column("sha256", ForeignKey("artifact.sha256"), nullable=False, index=True),
)
"""The files of a version, by the path they have in its folder."""

alias = Table(
    "alias",
    metadata,
    Column("prompt_id", ForeignKey("prompt.id"), primary_key=True),
    Column("name", _NAME, primary_key=True),
    Column("number", Integer),
    Column("generation", Integer, nullable=False),
    Column("moved", _TIME, nullable=False),
    ForeignKeyConstraint(
        ["prompt_id", "number"], ["version.prompt_id", "version.number"], name="fk_alias_version"
    ),
    Index("ix_alias_name_prompt_id", "name", "prompt_id"),
)
"""What a name points to now: no `number` where the alias was removed; `generation` counts its moves."""

event = Table(
    "event",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("time", _TIME, nullable=False),
    Column("actor", _NAME, nullable=False),
    Column("kind", String(40), nullable=False),
    Column("prompt_id", ForeignKey("prompt.id"), index=True),
    Column("payload", Text, nullable=False),
    Column("previous_hash", _HASH, nullable=False),
    Column("hash", _HASH, nullable=False, unique=True),
)
"""Everything that happened, each with the hash of the one before; rows are only ever added."""

policy = Table(
    "policy",
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("prompt_id", ForeignKey("prompt.id")),
    Column("alias", _NAME, nullable=False),
    Column("gates", JSON, nullable=False),
    Column("created", _TIME, nullable=False),
    Column("author", _NAME, nullable=False),
    Index("ix_policy_place", "prompt_id", "alias", "id"),
)
"""Gates of an alias, of one prompt or, without one, of all; the newest row counts."""

gate_run = Table(
    "gate_run",
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("version_id", ForeignKey("version.id"), nullable=False, index=True),
    Column("alias", _NAME, nullable=False),
    Column("against_number", Integer),
    Column("passed", Boolean, nullable=False),
    Column("results", JSON, nullable=False),
    Column("actor", _NAME, nullable=False),
    Column("time", _TIME, nullable=False),
)
"""What the gates of an alias said of a version, against the version the alias pointed to."""

approval = Table(
    "approval",
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("version_id", ForeignKey("version.id"), nullable=False, index=True),
    Column("alias", _NAME, nullable=False),
    Column("approver", _NAME, nullable=False),
    Column("note", Text, nullable=False),
    Column("time", _TIME, nullable=False),
    Column("withdrawn", _TIME),
)
"""A person's word for a version under an alias."""

dataset = Table(
    "dataset",
    metadata,
    Column("sha256", _HASH, primary_key=True),
    Column("name", _NAME, nullable=False),
    Column("num_rows", Integer, nullable=False),
    Column("role", String(16), nullable=False),
    Column("frozen", _TIME),
    Column("author", _NAME, nullable=False),
    Column("created", _TIME, nullable=False),
)
"""Rows by their hash; a test set that is frozen may be evidence."""

evidence = Table(
    "evidence",
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("version_id", ForeignKey("version.id"), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("content_hash", _HASH, nullable=False),
    Column("dataset_sha256", _HASH),
    Column("summary", JSON, nullable=False),
    Column("sha256", ForeignKey("artifact.sha256"), nullable=False),
    Column("author", _NAME, nullable=False),
    Column("created", _TIME, nullable=False),
    Index("ix_evidence_version_kind", "version_id", "kind", "id"),
)
"""What was measured of a version: its rows lie in an artifact; `summary` is only shown, never trusted."""

tag = Table(
    "tag",
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("prompt_id", ForeignKey("prompt.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("tag", _NAME, nullable=False, index=True),
    UniqueConstraint("prompt_id", "number", "tag"),
)
"""Words to find prompts and versions by; `number` 0 tags the prompt. Rows come and go."""

comment = Table(
    "comment",
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("prompt_id", ForeignKey("prompt.id"), nullable=False, index=True),
    Column("number", Integer),
    Column("author", _NAME, nullable=False),
    Column("text", Text, nullable=False),
    Column("time", _TIME, nullable=False),
)
"""What people said of a prompt or of one version."""

person = Table(
    "person",
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("name", _NAME, nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("created", _TIME, nullable=False),
    Column("disabled", _TIME),
)
"""Who may do what; `role` and `disabled` change, and events say so."""

permission = Table(
    "permission",
    metadata,
    Column("person_id", ForeignKey("person.id"), primary_key=True),
    Column("place", _NAME, primary_key=True),
    Column("role", String(16), nullable=False),
)
"""The role of a person in a folder (`place` ends in /) or for one prompt, in place of the general one."""

api_key = Table(
    "api_key",
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("person_id", ForeignKey("person.id"), nullable=False, index=True),
    Column("name", _NAME, nullable=False),
    Column("prefix", String(16), nullable=False),
    Column("sha256", _HASH, nullable=False, unique=True),
    Column("scopes", JSON, nullable=False),
    Column("created", _TIME, nullable=False),
    Column("expires", _TIME),
    Column("revoked", _TIME),
    Column("last_used", _TIME),
)
"""Secrets of people and services: their hashes only."""
