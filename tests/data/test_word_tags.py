import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.data.columns import ColumnMap, to_example
from tuningfork.data.example import Example
from tuningfork.data.rows import RawRow
from tuningfork.data.word_tags import read_tags, read_words
from tuningfork.errors import DataError

COLUMNS = ColumnMap(inputs={"text": "words"}, target="tags", has_tags=True)
WORDS = st.lists(st.text(min_size=1).filter(lambda text: text.split() == [text]), min_size=1)


def row(**values: object) -> RawRow:
    return RawRow(values, "names.jsonl:7")


@given(words=WORDS)
def test_words_and_tags_are_read_back_as_they_were(words: list[str]) -> None:
    assert read_words(words, "here").split() == words
    assert read_words(" \n".join(words), "here").split() == words
    assert read_tags(words, "here", len(words)).split() == words


def test_a_row_becomes_an_example() -> None:
    found = to_example(row(words=["Ann", "was", 1994], tags=["B-PER", "O", 2]), COLUMNS)
    assert found == Example({"text": "Ann was 1994"}, ("B-PER O 2",), source="names.jsonl:7")
    assert to_example(row(words=" Ann  was\there ", tags=["O"] * 3), COLUMNS).inputs == {
        "text": "Ann was here"
    }


def test_tags_are_not_read_where_none_are_needed() -> None:
    assert to_example(row(words=["Ann"], tags="?"), COLUMNS, needs_target=False).targets == ()
    assert to_example(row(words=["Ann"]), COLUMNS, needs_target=False).targets == ()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"words": ["Ann", "was"], "tags": ["O"]}, "column 'tags' holds 1 tag for 2 words; expected one"),
        ({"words": ["Ann"], "tags": ["O", "O"]}, "column 'tags' holds 2 tags for 1 word; expected one"),
        ({"words": ["Ann"], "tags": "O"}, "column 'tags' holds the text 'O'; expected a list with one tag"),
        ({"words": ["Ann"], "tags": None}, "column 'tags' holds None; expected a list"),
        ({"words": ["Ann"], "tags": [None]}, "column 'tags' tag 1 is None; expected a text"),
        ({"words": ["Ann"], "tags": [["O"]]}, "column 'tags' tag 1 is ['O']; expected a text"),
        ({"words": [], "tags": []}, "column 'words' holds no words; expected at least one"),
        ({"words": "  ", "tags": []}, "column 'words' holds no words; expected at least one"),
        ({"words": None, "tags": []}, "column 'words' holds None; expected a list of words, or a text"),
        ({"words": {"a": 1}, "tags": []}, "column 'words' holds {'a': 1}; expected a list of words"),
        ({"words": ["New York"], "tags": ["O"]}, "word 1 is the text 'New York'; expected a text without"),
        ({"words": ["Ann", ""], "tags": ["O", "O"]}, "word 2 is the text ''; expected a text without white"),
        ({"words": [True], "tags": ["O"]}, "word 1 is True; expected a text"),
        ({"words": ["Ann"]}, "no column 'tags', the target"),
        ({"tags": ["O"]}, "no column 'words', the input"),
        ({"words": ["\ud800"], "tags": ["O"]}, "column 'words' holds half of a surrogate pair"),
    ],
)
def test_what_is_no_words_with_tags_is_said_in_one_line(values: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)) as raised:
        to_example(row(**values), COLUMNS)
    assert str(raised.value).startswith("names.jsonl line 7: ")
    assert "\n" not in str(raised.value)
