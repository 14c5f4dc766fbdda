from pathlib import Path

import pytest

from tests.library.measured import row_keys
from tuningfork.data.example import Example, Message
from tuningfork.data.hashing import hash_example, hash_examples
from tuningfork.errors import AccessError, LibraryError
from tuningfork.library.access import Action
from tuningfork.library.artifacts import FolderStore
from tuningfork.library.chain import events
from tuningfork.library.database import reading
from tuningfork.library.datasets import (
    ADDED,
    FROZEN,
    find_dataset,
    hash_of_keys,
    keys_file,
    known_dataset,
    read_keys,
)
from tuningfork.library.store import Library

EXAMPLES = [
    Example({"text": "hello"}, ("good",)),
    Example({"text": "away"}, ("bad",)),
    Example({"text": "hello"}, ("good",)),
    Example(targets=("yes",), messages=(Message("user", "ok?"),)),
]


def test_the_hash_of_a_set_is_that_of_its_examples_in_any_order() -> None:
    keys = [hash_example(example) for example in EXAMPLES]
    assert hash_of_keys(keys) == hash_of_keys(keys[::-1]) == hash_examples(EXAMPLES)
    assert hash_of_keys(keys[1:]) != hash_examples(EXAMPLES)


def test_its_file_lies_under_its_hash_and_holds_its_rows(tmp_path: Path) -> None:
    keys = [hash_example(example) for example in EXAMPLES]
    store = FolderStore(tmp_path)
    assert store.put(keys_file(keys)) == hash_examples(EXAMPLES)
    assert read_keys(store, hash_examples(EXAMPLES)) == sorted(keys)
    other = store.put(b"no hashes of rows")
    with pytest.raises(LibraryError, match="not the hashes of the rows of a set"):
        read_keys(store, other)


@pytest.mark.parametrize("keys", [[], ["abc"], ["A" * 64], ["a" * 63 + "\n"], ["../" * 22]])
def test_what_is_no_row_is_refused(keys: list[str]) -> None:
    with pytest.raises(LibraryError, match=r"at least one row|not the SHA-256 of a row"):
        keys_file(keys)


def test_a_set_is_added_once_and_frozen_once(library: Library) -> None:
    added = library.add_dataset("shop/test", row_keys(3), author="ann")
    assert (added.num_rows, added.role, added.frozen, added.author) == (3, "test", None, "ann")
    assert library.add_dataset("shop/again", row_keys(3)[::-1], author="bob") == added
    frozen = library.freeze_dataset("shop/test", actor="bob")
    assert frozen.frozen is not None
    assert library.freeze_dataset(added.sha256[:8], actor="eve") == frozen
    assert library.datasets() == [frozen]
    with reading(library.engine) as connection:
        told = [(event.kind, event.actor, event.payload["sha256"]) for event in events(connection)]
        assert known_dataset(connection, added.sha256) == frozen
        assert known_dataset(connection, "0" * 64) is None
    assert told == [(ADDED, "ann", added.sha256), (FROZEN, "bob", added.sha256)]
    assert read_keys(library.artifacts, added.sha256) == sorted(row_keys(3))


def test_a_set_keeps_its_role(library: Library) -> None:
    library.add_dataset("shop/test", row_keys(3), author="ann")
    with pytest.raises(LibraryError, match="these rows are a test set already, so they cannot be a critical"):
        library.add_dataset("shop/critical", row_keys(3), role="critical", author="ann")
    with pytest.raises(LibraryError, match="a set of rows is one of train, test"):
        library.add_dataset("shop/other", row_keys(4), role="secret", author="ann")  # type: ignore[arg-type]


def test_sets_are_found_by_name_or_by_how_their_hash_begins(library: Library) -> None:
    one = library.add_dataset("shop/test", row_keys(3), author="ann")
    library.add_dataset("twice", row_keys(4), author="ann")
    library.add_dataset("twice", row_keys(5), author="ann")
    with reading(library.engine) as connection:
        assert find_dataset(connection, "shop/test") == find_dataset(connection, one.sha256[:6]) == one
        for unknown in ("other", one.sha256[:5], "%", "x' OR '1'='1"):
            with pytest.raises(LibraryError, match="no such set of rows; list them with"):
                find_dataset(connection, unknown)
        with pytest.raises(LibraryError, match="2 sets of rows are called so; name one by hash"):
            find_dataset(connection, "twice")


def test_who_freezes_must_be_let_approve(library: Library) -> None:
    class OnlyRegisters:
        def check(self, connection: object, actor: str, action: Action, name: str) -> None:
            if action != "register":
                raise AccessError(f"{actor} may not {action} {name}")

    library.access = OnlyRegisters()
    library.add_dataset("shop/test", row_keys(3), author="ann")
    with pytest.raises(AccessError, match="ann may not approve shop/test"):
        library.freeze_dataset("shop/test", actor="ann")
    assert [one.frozen for one in library.datasets()] == [None]
