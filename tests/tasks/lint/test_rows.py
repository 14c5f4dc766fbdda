from collections.abc import Sequence
from typing import Any

from tuningfork.data.example import Example
from tuningfork.tasks.lint.rows import ROWS
from tuningfork.tasks.lint.rule import ModelView, Specimen


def row(text: str, line: int, target: str = "billing") -> Example:
    return Example({"message": text}, (target,), source=f"rows.jsonl:{line}")


def found(
    rows: Sequence[Example] | None,
    tested: Sequence[Example] = (),
    model: ModelView | None = None,
    **fields: Any,
) -> list[tuple[str, str]]:
    subject = Specimen(fields, rows=rows, tested=tested, model=model).subject()
    return [(one.place, one.message) for rule in ROWS for one in rule.findings(subject)]


def test_rows_that_are_too_long_are_named_up_to_three() -> None:
    model = ModelView("m", {}, 3, lambda row: len(row.inputs["message"]))
    rows = [row("abc", 1), *(row("abcd", line) for line in range(2, 7))]
    told = found(rows, model=model)
    assert [place for place, _ in told] == [f"rows.jsonl line {line}" for line in (2, 3, 4)]
    assert told[0][1] == "prompt, row and answer have 4 tokens (and 4 more rows); m reads 3"
    assert found([row("abcd", 1)], tested=[row("a", 1)], model=model) != []
    assert found([row("a", 1)], tested=[row("abcd", 1)], model=model) != []
    assert found(rows, model=ModelView("m", {}, None, lambda row: 10**9)) == []


def test_rows_that_do_not_fit_are_not_measured() -> None:
    def fails(row: Example) -> int:
        raise AssertionError("was measured")

    rows = [row("abcd", 2), row("a", 3, "sales")]
    told = found(rows, model=ModelView("m", {}, 3, fails), variables={"message": {"max_length": 3}})
    assert told == [
        ("rows.jsonl line 2", "variable message: has 4 characters, expected at most 3 (and 1 more rows)"),
        ("rows.jsonl line 3", "target 'sales' is no label: known: 'billing', 'returns' (and 1 more rows)"),
    ]


def test_a_variable_that_most_rows_lack() -> None:
    rows = [row("", 1), row("", 2), row("a", 3)]
    assert found(rows) == [("data.inputs.message", "is empty in 2 of 3 rows")]
    assert found(rows, variables={"message": {"default": "x"}}) == []
    assert found(None) == []


def test_a_shown_row_in_the_test_set_is_found_whatever_its_spaces() -> None:
    shown = [{"inputs": {"message": "Pay me"}, "target": "billing"}]
    told = found([], tested=[row("x", 1), row("pay  me", 9)], demonstrations=shown)
    assert told == [
        ("demonstrations 1", "is also a test row (rows.jsonl line 9), whose answer the prompt gives away")
    ]
