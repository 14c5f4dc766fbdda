import pytest

from tuningfork.data.checks import DataReport, Finding, Leak, check_examples, find_leaks
from tuningfork.data.example import Example, Message
from tuningfork.data.store import ExampleStore
from tuningfork.errors import DataError


def examples_of(*pairs: tuple[str, str]) -> list[Example]:
    return [
        Example({"text": text}, (label,) if label else (), source=f"t.csv:{line}")
        for line, (text, label) in enumerate(pairs, start=2)
    ]


GOOD = [(f"text {number}", "ab"[number % 2]) for number in range(8)]


def test_good_rows_are_all_kept() -> None:
    examples = examples_of(*GOOD)
    report = check_examples(examples)
    assert report.examples is examples
    assert (report.row_count, report.lines()) == (8, [])


def test_duplicates_are_dropped_but_the_first() -> None:
    report = check_examples(examples_of(*GOOD, GOOD[0], GOOD[0], GOOD[3]))
    assert [example.source for example in report.examples] == [f"t.csv:{line}" for line in range(2, 10)]
    assert report.lines() == [
        "3 duplicates dropped: t.csv line 10 (as t.csv line 2); t.csv line 11 (as t.csv line 2); "
        "t.csv line 12 (as t.csv line 5)"
    ]


def test_near_duplicates_and_conflicts_are_kept_and_told() -> None:
    report = check_examples(examples_of(*GOOD, (" TEXT  0", "A"), ("Text 1", "other")))
    assert len(report.examples) == 10
    assert report.lines() == [
        "1 near-duplicate kept (case or spaces differ): t.csv line 10 (as t.csv line 2)",
        "1 row with the same input but another target: t.csv line 11 (as t.csv line 3)",
    ]


def test_empty_rows_are_dropped() -> None:
    report = check_examples(examples_of(("", "a"), (" \n", "b"), ("x", ""), *GOOD))
    assert len(report.examples) == 8
    assert report.lines() == [
        "3 empty rows dropped: t.csv line 2 (no input); t.csv line 3 (no input); t.csv line 4 (no target)"
    ]


def test_one_filled_input_or_message_is_enough() -> None:
    examples = [
        *(Example({"question": str(number), "context": ""}, (str(number),)) for number in range(4)),
        *(Example(messages=(Message("user", str(number)),), targets=(str(number),)) for number in range(4)),
    ]
    assert check_examples(examples).empty.count == 0
    assert check_examples([*examples, Example(messages=(Message("user", ""),), targets=("x",))]).lines() == [
        "1 empty row dropped: row 9 (no input)"
    ]


def test_targets_are_not_missed_when_none_are_needed() -> None:
    report = check_examples(examples_of(*((text, "") for text, _ in GOOD)), needs_target=False)
    assert len(report.examples) == 8


def test_over_long_rows_are_dropped_with_both_numbers() -> None:
    report = check_examples(
        examples_of(*GOOD, ("x" * 50, "a")), length_of=lambda example: len(example.inputs["text"]), maximum=20
    )
    assert report.lines() == ["1 over-long row dropped: t.csv line 10 (length 50, maximum 20)"]
    assert len(report.examples) == 8


def test_only_the_first_places_are_named() -> None:
    report = check_examples(examples_of(*GOOD, *[GOOD[0]] * 7))
    (line,) = report.lines()
    assert line.startswith("7 duplicates dropped: t.csv line 10 (as t.csv line 2); ")
    assert line.endswith("t.csv line 14 (as t.csv line 2); and 2 more")


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(
        DataError, match=r"^t\.csv: 2 rows; at least 8 are needed, 20-50 recommended\. Add more"
    ):
        check_examples(examples_of(*GOOD[:2]))
    expected = r"^t\.csv: 1 row left of 3 \(1 duplicate, 1 empty dropped\); at least 8 are needed"
    with pytest.raises(DataError, match=expected):
        check_examples(examples_of(GOOD[0], GOOD[0], ("", "a")))
    with pytest.raises(DataError, match=r"^0 rows; at least 1 is needed\. Add more examples"):
        check_examples([], minimum_rows=1)


def test_one_label_only_is_refused() -> None:
    rows = examples_of(*((text, "x") for text, _ in GOOD))
    with pytest.raises(
        DataError,
        match=r"^t\.csv: all 8 rows have the same target, 'x'; there is nothing to learn from one",
    ):
        check_examples(rows)
    assert len(check_examples(rows, needs_several_targets=False).examples) == 8


def test_a_report_can_stand_alone() -> None:
    finding = Finding()
    finding.add("here")
    empty = Finding()
    report = DataReport(1, [], empty, empty, empty, finding, empty)
    assert report.lines() == ["1 empty row dropped: here"]


def test_a_store_is_checked_without_copying_it() -> None:
    store = ExampleStore(examples_of(*GOOD, GOOD[0]))
    report = check_examples(store)
    assert list(report.examples) == examples_of(*GOOD)
    assert report.duplicates.count == 1


def test_leaks_are_found_after_normalising() -> None:
    train = examples_of(("Hello", "a"), ("hello ", "a"), ("Bye", "b"))
    other = [
        Example({"text": "  HELLO"}, ("z",), source="test.csv:2"),
        Example({"text": "new"}, ("z",), source="test.csv:3"),
    ]
    leaks = find_leaks(train, other)
    assert leaks == [Leak("test.csv:2", "t.csv:2")]
    assert str(leaks[0]) == "test.csv line 2 has the input of t.csv line 2"
