"""Sets of rows by their hash: which rows belong to one, and whether it may be evidence.

A set of rows is kept as the sorted SHA-256 of its rows, 32 bytes each: the SHA-256 of that file is the hash
of the set, as `data.hashing.hash_examples` has it. So it lies under its own hash, and can hold no other rows.
"""

import hashlib
import re
from collections.abc import Iterable
from typing import Any, Literal, get_args

from sqlalchemy import Connection, Row, insert, select, update

from tuningfork.errors import LibraryError
from tuningfork.library import schema
from tuningfork.library.artifacts import ArtifactStore
from tuningfork.library.canonical import now
from tuningfork.library.chain import append_event
from tuningfork.library.naming import check_name
from tuningfork.library.run_records import Record
from tuningfork.library.versions import add_artifact

DatasetRole = Literal["train", "test", "critical", "clean", "probes"]
"""To learn from; to judge by; cases that must not break; what no guard may stop; pairs and variants."""

ADDED, FROZEN = "dataset added", "dataset frozen"
_NUM_BYTES = 32
_HASH = re.compile(r"[0-9a-f]{64}")
_SHORT_HASH = re.compile(r"[0-9a-f]{6,64}")
_SHOWN = 12


class DatasetRecord(Record):
    """A set of rows as the library knows it."""

    sha256: str
    name: str
    num_rows: int
    role: DatasetRole
    frozen: str | None
    """Since when it stands for good; only such a set is evidence."""
    author: str
    created: str

    @property
    def shown(self) -> str:
        """How messages name it."""
        return f"{self.name} ({self.sha256[:_SHOWN]})"


def keys_file(keys: Iterable[str]) -> bytes:
    """The file of a set with these rows, by their hashes; a row may occur more than once.

    Raises:
        LibraryError: if there is no row, or one of them is no SHA-256.
    """
    found = list(keys)
    if not found:
        raise LibraryError("a set of rows has at least one row, found none")
    for key in found:
        if not _HASH.fullmatch(key):
            raise LibraryError(f"{key!r:.80} is not the SHA-256 of a row")
    return b"".join(sorted(map(bytes.fromhex, found)))


def hash_of_keys(keys: Iterable[str]) -> str:
    """The hash of the set with these rows.

    Raises:
        LibraryError: if there is no row, or one of them is no SHA-256.
    """
    return hashlib.sha256(keys_file(keys)).hexdigest()


def read_keys(artifacts: ArtifactStore, sha256: str) -> list[str]:
    """The rows of a set, sorted by their hashes.

    Raises:
        LibraryError: if the file is missing or damaged, or holds no rows.
    """
    content = artifacts.get(sha256)
    if not content or len(content) % _NUM_BYTES:
        raise LibraryError(f"{sha256[:_SHOWN]}: not the hashes of the rows of a set ({len(content)} bytes)")
    return [content[start : start + _NUM_BYTES].hex() for start in range(0, len(content), _NUM_BYTES)]


def add_dataset(
    connection: Connection, name: str, keys: bytes, *, role: DatasetRole, author: str
) -> DatasetRecord:
    """Note a set of rows; `keys` are those of `keys_file`, already in the artifact store.

    A set that is known stays as it is; the name that it was given first counts.

    Raises:
        LibraryError: if the name is none, or the set is known in another role.
    """
    check_name(name)
    if role not in get_args(DatasetRole):
        raise LibraryError(f"{role!r:.40}: a set of rows is one of {', '.join(get_args(DatasetRole))}")
    sha256 = hashlib.sha256(keys).hexdigest()
    known = _row(connection, sha256)
    if known is not None:
        if known.role != role:
            raise LibraryError(
                f"{known.name} ({sha256[:_SHOWN]}): these rows are a {known.role} set already, "
                f"so they cannot be a {role} set"
            )
        return _record(known)
    add_artifact(connection, sha256, len(keys))
    fields = {"sha256": sha256, "name": name, "num_rows": len(keys) // _NUM_BYTES, "role": role}
    connection.execute(insert(schema.dataset).values(**fields, frozen=None, author=author, created=now()))
    append_event(connection, ADDED, author, fields)
    return _record(_row(connection, sha256))


def freeze_dataset(connection: Connection, reference: str, *, actor: str) -> DatasetRecord:
    """Have a set of rows stand for good, so that it may be evidence.

    Raises:
        LibraryError: if there is no such set.
    """
    found = find_dataset(connection, reference)
    if found.frozen is not None:
        return found
    when = now()
    connection.execute(
        update(schema.dataset).where(schema.dataset.c.sha256 == found.sha256).values(frozen=when)
    )
    payload = {**found.model_dump(include={"sha256", "name", "num_rows", "role"}), "frozen": when}
    append_event(connection, FROZEN, actor, payload)
    return found.model_copy(update={"frozen": when})


def find_dataset(connection: Connection, reference: str) -> DatasetRecord:
    """The set of rows with this name, or whose hash begins so.

    Raises:
        LibraryError: if there is none, or more than one.
    """
    columns = schema.dataset.c
    rows = connection.execute(select(schema.dataset).where(columns.name == reference)).all()
    if not rows and _SHORT_HASH.fullmatch(reference):
        rows = connection.execute(
            select(schema.dataset).where(columns.sha256.startswith(reference)).limit(2)
        ).all()
    if not rows:
        raise LibraryError(
            f"{reference!r:.80}: no such set of rows; list them with: tuningfork library dataset list"
        )
    if len(rows) > 1:
        hashes = ", ".join(sorted(row.sha256[:_SHOWN] for row in rows))
        raise LibraryError(f"{reference}: {len(rows)} sets of rows are called so; name one by hash: {hashes}")
    return _record(rows[0])


def known_dataset(connection: Connection, sha256: str) -> DatasetRecord | None:
    """The set of rows with exactly this hash, if it is known."""
    row = _row(connection, sha256)
    return None if row is None else _record(row)


def unused_name(connection: Connection, name: str) -> str:
    """`name`, or where sets are called so the first of `name-2`, `name-3` that is free."""
    columns, found, number = schema.dataset.c, name, 1
    while connection.scalar(select(columns.sha256).where(columns.name == found).limit(1)) is not None:
        number += 1
        found = f"{name}-{number}"
    return found


def list_datasets(connection: Connection) -> list[DatasetRecord]:
    """All sets of rows by name."""
    columns = schema.dataset.c
    rows = connection.execute(select(schema.dataset).order_by(columns.name, columns.created, columns.sha256))
    return [_record(row) for row in rows]


def _row(connection: Connection, sha256: str) -> Row[Any] | None:
    return connection.execute(select(schema.dataset).where(schema.dataset.c.sha256 == sha256)).first()


def _record(row: Row[Any] | None) -> DatasetRecord:
    assert row is not None
    return DatasetRecord.model_validate(dict(row._mapping))
