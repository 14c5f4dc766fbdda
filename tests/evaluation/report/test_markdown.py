import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.evaluation.report import records
from tuningfork.evaluation.comparison import ComparisonRecord
from tuningfork.evaluation.report.markdown import escaped, markdown

RECORD = records.classification()
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)
# A pipe that is not escaped ends a cell.
BORDER = re.compile(r"(?<!\\)\|")


def tables(text: str) -> list[list[str]]:
    """The tables, as lists of their lines."""
    found: list[list[str]] = []
    open_table = False
    for line in text.splitlines():
        if line.startswith("|"):
            if not open_table:
                found.append([])
            found[-1].append(line)
        open_table = line.startswith("|")
    return found


def headings(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("## ")]


def test_the_headline_comes_first_then_the_table() -> None:
    text = markdown(RECORD)
    assert text.startswith(f"# {RECORD.headline}\n\n")
    first = tables(text)[0]
    assert "| 1 | TF-IDF + logistic regression | 0.867 \\[0.758, 0.931\\] | +0.567 " in first[2]
    assert "▲ better" in first[2]
    assert len(first) == 2 + 9


def test_it_has_all_parts_in_order() -> None:
    assert headings(markdown(RECORD)) == [
        "## Left out or failed",
        "## Differences",
        "## Quality against cost",
        "## Further metrics",
        "## Most frequent confusions",
        "## Learning curves",
        "## Flipped cases",
        "## How to read this",
        "## Where it was made",
        "## To make it again",
    ]
    assert "- p-tuning v2: failed: the loss was not a number" in markdown(RECORD)


@pytest.mark.parametrize("record", [RECORD, records.generation(), records.awkward()], ids=["a", "b", "c"])
def test_every_line_of_a_table_has_the_same_cells(record: ComparisonRecord) -> None:
    for table in tables(markdown(record)):
        assert len({len(BORDER.findall(line)) for line in table}) == 1, table


def test_nothing_from_outside_is_read_as_markup() -> None:
    text = markdown(records.awkward())
    before_code = text.split("## To make it again")[0]
    assert "<script" not in before_code
    assert set(re.findall(r"<[^>]*>", before_code)) == {"<br>"}
    text.encode("utf-8")


def test_a_command_with_backticks_stays_in_its_fence() -> None:
    text = markdown(RECORD.model_copy(update={"command": "echo ````\n# no heading"}))
    assert text.endswith("`````sh\necho ````\n# no heading\n`````\n")


@given(ANY_TEXT)
def test_escaped_text_is_one_line_that_ends_no_cell(words: str) -> None:
    line = escaped(words)
    assert "\n" not in line
    assert "\r" not in line
    assert "<" not in line
    assert not BORDER.search(line.replace("\\\\", ""))


def test_escaping_keeps_the_words() -> None:
    assert escaped("a|b *c* [d](e) <f> & `g`") == "a\\|b \\*c\\* \\[d\\](e) &lt;f&gt; &amp; \\`g\\`"


def test_flips_say_how_many_more_there_are() -> None:
    text = markdown(RECORD)
    assert "### TF-IDF + logistic regression against text prompt: 34 better, 0 worse" in text
    assert "30 more in the JSON file." in text
    assert "5 of 5 seeds" in text


def test_a_comparison_in_which_all_failed_says_so() -> None:
    failed = [each.model_copy(update={"status": "failed", "seeds": ()}) for each in RECORD.contestants]
    text = markdown(RECORD.model_copy(update={"contestants": tuple(failed), "differences": (), "curves": ()}))
    assert "Nothing was measured." in text
    assert headings(text)[0] == "## Left out or failed"
    assert "## Differences" not in text
