import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.data.example import Example, Message
from tuningfork.data.hashing import (
    canonical_json,
    content_digest,
    hash_examples,
    hash_file,
    hash_folder,
    input_digest,
    normalize_text,
    target_digest,
)
from tuningfork.errors import DataError

TEXTS = st.text(max_size=5)
EXAMPLES = st.builds(
    Example,
    st.dictionaries(TEXTS, TEXTS, max_size=3),
    st.lists(TEXTS, max_size=2).map(tuple),
    st.lists(st.builds(Message, st.just("user"), TEXTS), max_size=2).map(tuple),
)


@given(st.lists(EXAMPLES, max_size=5), st.randoms())
def test_the_order_of_rows_does_not_matter(examples: list[Example], generator: st.DataObject) -> None:
    shuffled = list(examples)
    generator.shuffle(shuffled)  # type: ignore[attr-defined]
    assert hash_examples(shuffled) == hash_examples(examples)


@given(st.lists(EXAMPLES, max_size=4), EXAMPLES)
def test_one_more_row_changes_the_hash(examples: list[Example], extra: Example) -> None:
    assert hash_examples([*examples, extra]) != hash_examples(examples)


@given(EXAMPLES, EXAMPLES)
def test_two_examples_share_a_digest_only_if_equal(first: Example, second: Example) -> None:
    assert (content_digest(first) == content_digest(second)) == (first == second)
    assert (canonical_json(first) == canonical_json(second)) == (first == second)


def test_the_hash_is_pinned() -> None:
    example = Example({"b": "é", "a": "x"}, ("t",), (Message("user", "Hi"),), "f.csv:2")
    text = '{"inputs":{"a":"x","b":"é"},"messages":[["user","Hi"]],"targets":["t"]}'
    assert canonical_json(example) == text
    inner = hashlib.sha256(text.encode()).digest()
    assert hash_examples([example]) == hashlib.sha256(inner).hexdigest()


def test_where_a_row_was_read_does_not_count() -> None:
    assert hash_examples([Example({"a": "x"}, source="f:1")]) == hash_examples(
        [Example({"a": "x"}, source="g:2")]
    )


def test_inputs_are_compared_without_case_and_space() -> None:
    first = Example({"text": " Straße\n 1 "}, ("a",), (Message("user", "HI  you"),))
    second = Example({"text": "STRASSE 1"}, ("b",), (Message("user", "hi you"),))
    assert input_digest(first) == input_digest(second)
    assert content_digest(first) != content_digest(second)
    assert input_digest(first) != input_digest(Example({"question": "strasse 1"}, (), first.messages))
    assert input_digest(first) != input_digest(Example(first.inputs, (), (Message("assistant", "hi you"),)))


def test_targets_are_compared_without_case_space_and_order() -> None:
    assert target_digest(Example(targets=("A b", "c"))) == target_digest(Example(targets=(" C", "a  B")))
    assert target_digest(Example(targets=("a", "b"))) != target_digest(Example(targets=("a b",)))


@given(st.text())
def test_normalizing_settles(text: str) -> None:
    once = normalize_text(text)
    assert once == once.strip()
    assert "  " not in once
    assert normalize_text(once.upper().lower()) == normalize_text(normalize_text(once.upper().lower()))


def test_a_file_is_hashed_by_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "t.bin"
    path.write_bytes(b"abc" * 100_000)
    assert hash_file(path) == hashlib.sha256(b"abc" * 100_000).hexdigest()
    with pytest.raises(
        DataError, match=r"gone: cannot be read \(No such file or directory\)\. Check the path"
    ):
        hash_file(tmp_path / "gone")


def test_a_folder_is_hashed_by_names_and_bytes_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("2")
    (tmp_path / "a").write_text("1")
    (tmp_path / "inner").mkdir()
    before = hash_folder(tmp_path)
    assert hash_folder(tmp_path) == before
    (tmp_path / "a").write_text("3")
    changed = hash_folder(tmp_path)
    (tmp_path / "a").rename(tmp_path / "c")
    assert len({before, changed, hash_folder(tmp_path)}) == 3
