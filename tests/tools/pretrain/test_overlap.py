from pathlib import Path

import pytest

from tools.pretrain.overlap import KeptOut, read_kept_out
from tuningfork.errors import DataError

LONG = "my new card has not come although I ordered it last week"


@pytest.mark.parametrize(
    "text",
    [
        "Someone said: MY NEW CARD has not come, although I ordered",
        f"Message: {LONG}\nQueue: cards",
        "Is it open?\nCustomer: where's my card\nAgent: here",
        "Message: Where's my card?",
    ],
)
def test_a_kept_text_is_found(text: str) -> None:
    assert KeptOut([LONG, "Where's my card?", "thanks a"]).overlaps(text)


@pytest.mark.parametrize(
    "text",
    ["my new card has not come although he", "I know where's my card now", "thanks a", "", "card last week"],
)
def test_shorter_runs_and_common_words_are_not(text: str) -> None:
    assert not KeptOut([LONG, "Where's my card?", "thanks a"]).overlaps(text)


def test_every_string_of_a_file_is_kept(tmp_path: Path) -> None:
    rows, table = tmp_path / "rows.jsonl", tmp_path / "table.csv"
    rows.write_text('{"a": {"b": ["one two three"]}, "n": 4}\n', encoding="utf-8")
    table.write_text("text,label\nfour five six,x\n", encoding="utf-8")
    kept = read_kept_out([rows, table])
    assert kept.overlaps("One, two, three!")
    assert kept.overlaps("four five six")
    assert len(kept) == 2


def test_a_missing_file_and_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file to compare with"):
        read_kept_out([tmp_path / "none.csv"])
    (tmp_path / "a.txt").write_text("x", encoding="utf-8")
    with pytest.raises(DataError, match=r"expected \.jsonl or \.csv"):
        read_kept_out([tmp_path / "a.txt"])
