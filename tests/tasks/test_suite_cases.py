from typing import Any

import pytest

from tuningfork.data.example import Message
from tuningfork.data.rows import RawRow
from tuningfork.errors import SuiteError
from tuningfork.tasks.assertions.assertion import read_assertion
from tuningfork.tasks.assertions.declaration import Source
from tuningfork.tasks.suite import Case
from tuningfork.tasks.suite_cases import Defaults, read_case, read_row, read_share

PLAIN = Defaults(Source())
USER = {"role": "user", "content": "hi"}


def place(*keys: str | int) -> str:
    return ":".join(["f", *map(str, keys)])


def case(declared: Any, defaults: Defaults = PLAIN) -> Case:
    return read_case(declared, 3, place, defaults)


def row(**cells: str) -> Case:
    values = {name.replace("__", ":"): text for name, text in cells.items()}
    return read_row(RawRow(values, "f.csv:7"), 3, PLAIN)


def titles(found: Case) -> list[str]:
    return [assertion.title for assertion in found.assertions]


def test_a_case_says_what_it_needs() -> None:
    found = case(
        {
            "id": 12,
            "inputs": {"text": "hi", "count": 3, "on": True, "order": {"a": [1]}, "none": None},
            "expected": ["yes", "yes!"],
            "assertions": [{"contains": "yes"}],
            "threshold": 0.5,
            "tags": ["smoke", 7],
            "critical": True,
        }
    )
    assert (found.id, found.place, found.threshold) == ("12", "f", 0.5)
    assert found.inputs == {"text": "hi", "count": "3", "on": "true", "order": '{"a":[1]}', "none": ""}
    assert (found.expected, found.tags, found.is_critical) == (("yes", "yes!"), ("smoke", "7"), True)
    assert titles(found) == ["contains yes"]


def test_what_is_not_said_has_defaults() -> None:
    defaults = Defaults(Source(), (read_assertion({"contains": "tea"}, Source()),), 0.25)
    found = case({"inputs": {"text": "hi"}, "assertions": [{"regex": "x"}]}, defaults)
    assert (found.id, found.threshold, found.is_critical, found.tags) == ("3", 0.25, False, ())
    assert titles(found) == ["contains tea", "regex x"]


def test_an_expected_answer_alone_is_compared() -> None:
    assert titles(case({"inputs": {"text": "hi"}, "expected": "yes"})) == ["equals"]
    assert titles(case({"inputs": {"text": "hi"}})) == []
    assert case({"inputs": {"text": "hi"}, "expected": {"a": 1}}).expected == ('{"a":1}',)


def test_a_conversation_ends_before_the_answer() -> None:
    turns = [USER, {"role": "assistant", "content": "hello"}, {"role": "user", "content": "tea?"}]
    assert case({"messages": turns}).messages == (
        Message("user", "hi"),
        Message("assistant", "hello"),
        Message("user", "tea?"),
    )
    with pytest.raises(SuiteError, match="a conversation that ends before the answer"):
        case({"messages": turns[:2]})


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ("text", "^f: case 3: expected fields such as inputs, found 'text'"),
        ({"input": {}}, "^f:input: case 3: unknown field 'input': did you mean 'inputs'"),
        ({"id": "a"}, "^f: case a: give either inputs or messages, found neither"),
        ({"inputs": {"a": "b"}, "messages": [USER]}, "give either inputs or messages, found both"),
        ({"inputs": "hi"}, "^f:inputs: case 3: inputs: expected variables with their texts"),
        ({"inputs": {1: "hi"}}, "inputs: expected variables with their texts"),
        ({"id": [1], "inputs": {"a": "b"}}, r"^f:id: id: expected a name, found \[1\]"),
        ({"id": " ", "inputs": {"a": "b"}}, "id: expected a name"),
        ({"messages": "hi"}, "case 3: column 'messages' holds 'hi'; expected a list of role and content"),
        ({"messages": [{"role": "boss", "content": "x"}]}, "turn 1 has the role 'boss'"),
        ({"messages": []}, "an empty conversation"),
        (
            {"inputs": {"a": "b"}, "threshold": 2},
            "^f:threshold: threshold: expected a share from 0 to 1, found 2",
        ),
        ({"inputs": {"a": "b"}, "threshold": True}, "threshold: expected a share"),
        ({"inputs": {"a": "b"}, "tags": 3}, "^f:tags: case 3: tags: expected a list of names, found 3"),
        (
            {"inputs": {"a": "b"}, "critical": "maybe"},
            "^f:critical: case 3: critical: expected true or false",
        ),
        (
            {"inputs": {"a": "b"}, "assertions": [{"contains": "x"}, {"regexp": "x"}]},
            "^f:assertions:1: case 3: assertion 2: unknown kind 'regexp': did you mean 'regex'",
        ),
        ({"inputs": {"a": "b"}, "assertions": "x"}, "^f:assertions: case 3: assertions: expected a list"),
        (
            {"inputs": {"a": "b"}, "assertions": [{"label": None}]},
            "^f: case 3: 'label' compares with the expected answer, and the case has none",
        ),
    ],
)
def test_what_cannot_be_used_is_told_with_its_place(declared: Any, message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        case(declared)


def test_a_row_of_a_table() -> None:
    found = row(
        id="late",
        text="where is it",
        expected="delivery",
        tags="smoke; slow",
        critical="yes",
        threshold="0.5",
        input__id="7",
        assert__contains="deli",
        assert__regex="",
        assert__latency="2",
        assert__forbidden_terms='["a", "b"]',
        assert__metric='{"metric": "chrf", "threshold": 40}',
        assert__length='{"max": 9}',
        assert__is_json="true",
    )
    assert (found.id, found.place) == ("late", "f.csv:7")
    assert found.inputs == {"text": "where is it", "id": "7"}
    assert (found.expected, found.tags, found.is_critical) == (("delivery",), ("smoke", "slow"), True)
    assert found.threshold == 0.5
    assert titles(found) == [
        "contains deli",
        "latency 2",
        "forbidden terms a, b",
        "metric chrf 40",
        "length max 9",
        "is json",
    ]


def test_empty_cells_say_nothing() -> None:
    found = row(id="", text="", expected="", tags="", critical="", threshold="")
    assert (found.id, found.inputs, found.expected, found.threshold) == ("3", {"text": ""}, (), 1.0)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"id": "a"}, r"^f\.csv:7: case a: no column is an input; found id"),
        ({"text": "x", "assert__contians": "y"}, "f.csv:7: case 3: assert:contians: unknown kind 'contians'"),
        ({"text": "x", "assert__contains": "[y"}, "assert:contains: begins like JSON, but is none"),
        ({"text": "x", "assert__latency": "soon"}, "assert:latency: latency: expected a number"),
        ({"text": "x", "critical": "si"}, "f.csv:7: case 3: critical: expected true or false, found 'si'"),
        (
            {"text": "x", "threshold": "half"},
            "f.csv:7: case 3: threshold: expected a share from 0 to 1, found 'half'",
        ),
    ],
)
def test_wrong_cells_are_told_with_their_line(cells: dict[str, str], message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        row(**cells)


@pytest.mark.parametrize("value", [None, True, False, -0.1, 1.1, "x", float("nan"), [], 10**400])
def test_shares(value: Any) -> None:
    assert read_share("0.5", "f", "share") == 0.5
    with pytest.raises(SuiteError, match="f: share: expected a share from 0 to 1"):
        read_share(value, "f", "share")
