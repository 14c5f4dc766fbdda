import lzma
from collections import Counter
from pathlib import Path

import pytest

from tools.pretrain import corpus
from tools.pretrain.corpus import Document
from tuningfork.errors import DataError


def test_end_marks_are_cut_and_empty_answers_left_out(corpus_path: Path) -> None:
    found = list(corpus.documents(corpus_path))
    assert not any("<|endoftext|>" in document.text + document.response for document in found)
    assert "empty_answers" not in {document.source for document in found}


def test_the_split_is_about_as_large_as_asked_for_and_always_the_same() -> None:
    documents = [Document("text", "a", f"text {number}") for number in range(4000)]
    splits = [corpus.split_of(document, 0.05) for document in documents]
    assert splits == [corpus.split_of(document, 0.05) for document in documents]
    assert 120 < Counter(splits)["validation"] < 280


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.xz: there is no corpus here"):
        list(corpus.documents(tmp_path / "none.xz"))


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plain.xz"
    path.write_text("hello", encoding="utf-8")
    with pytest.raises(DataError, match="not an xz file"):
        list(corpus.documents(path))


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "corpus.xz"
    with lzma.open(path, "wt") as file:
        file.write('{"kind": "text", "src": "a", "text": "b"}\n{"kind": "song"}\n')
    with pytest.raises(DataError, match="line 2: expected an object with `kind`"):
        list(corpus.documents(path))
