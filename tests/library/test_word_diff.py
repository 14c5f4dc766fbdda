import string
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.library.differences import WordEdit
from tuningfork.library.word_diff import word_diff

TEXTS = st.lists(
    st.sampled_from(["good ", "bad", " ", "\n", "\r\n", ".", "é", "{{x}}", "\u200b"]), max_size=30
).map("".join) | st.text(max_size=60)


def joined(edits: tuple[WordEdit, ...], *kinds: str) -> str:
    return "".join(edit.text for edit in edits if edit.op in kinds)


@given(TEXTS, TEXTS)
def test_edits_make_one_text_of_the_other(before: str, after: str) -> None:
    edits = word_diff(before, after)
    assert joined(edits, "same", "removed") == before
    assert joined(edits, "same", "added") == after
    assert all(edit.text for edit in edits)
    assert all(one.op != two.op for one, two in pairwise(edits))
    assert any(edit.op != "same" for edit in edits) == (before != after)


@given(st.text(alphabet=string.ascii_letters + " \n", max_size=80))
def test_a_text_has_no_difference_from_itself(text: str) -> None:
    assert word_diff(text, text) == ((WordEdit(op="same", text=text),) if text else ())


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("Name the queue.", "Name the best queue.",
         [("same", "Name the "), ("added", "best "), ("same", "queue.")]),
        ("One.\nTwo three.\n", "One.\nTwo four.\n",
         [("same", "One.\nTwo "), ("removed", "three"), ("added", "four"), ("same", ".\n")]),
        ("", "new", [("added", "new")]),
    ],
)  # fmt: skip
def test_whole_words_are_marked(before: str, after: str, expected: list[tuple[str, str]]) -> None:
    assert [(edit.op, edit.text) for edit in word_diff(before, after)] == expected


def test_a_long_line_of_frequent_words_is_compared_too() -> None:
    words = [f"the word{n % 997} of" for n in range(10_000)]
    before, after = " ".join(words), " ".join([*words[:5000], "else", *words[5000:]])
    edits = word_diff(before, after)
    assert joined(edits, "same", "removed") == before
    assert joined(edits, "added") == "else "
