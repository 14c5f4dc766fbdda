import json
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.data.columns import ColumnMap, to_example
from tuningfork.data.example import Example, Message
from tuningfork.data.rows import RawRow
from tuningfork.errors import DataError

COLUMNS = ColumnMap(inputs={"text": "Text"}, target="Label")


def row(**values: Any) -> RawRow:
    return RawRow(values, "t.jsonl:812")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (" as it is\n", " as it is\n"),
        (None, ""),
        (float("nan"), ""),
        (True, "true"),
        (3, "3"),
        (0.5, "0.5"),
        (["é", 1], '["é",1]'),
        ({"b": 1, "a": None}, '{"b":1,"a":null}'),
        (date(2024, 2, 29), "2024-02-29"),
        (datetime(2024, 2, 29, 1, 2, 3), "2024-02-29T01:02:03"),
        (Decimal("1.50"), "1.50"),
    ],
)
def test_input_values_become_text(value: Any, text: str) -> None:
    assert to_example(row(Text=value, Label="a"), COLUMNS).inputs == {"text": text}


@pytest.mark.parametrize(
    ("value", "targets"),
    [
        (" billing ", ("billing",)),
        (["one", " two ", ""], ("one", "two")),
        ([1, 2.5, True], ("1", "2.5", "true")),
        (False, ("false",)),
        (0, ("0",)),
        (None, ()),
        ("  ", ()),
        ([], ()),
        ({"z": "é", "a": [1, 2]}, ('{"z":"é","a":[1,2]}',)),
        ([{"name": "x"}, {"name": "y"}], ('[{"name":"x"},{"name":"y"}]',)),
        ({}, ("{}",)),
    ],
)
def test_target_values_become_references_or_json(value: Any, targets: tuple[str, ...]) -> None:
    assert to_example(row(Text="t", Label=value), COLUMNS).targets == targets


@pytest.mark.parametrize(("value", "target"), [([], "[]"), (["a", "b"], '["a","b"]'), ({"a": 1}, '{"a":1}')])
def test_lists_in_a_json_target_are_one_answer(value: Any, target: str) -> None:
    columns = ColumnMap(inputs={"text": "Text"}, target="Label", is_json_target=True)
    assert to_example(row(Text="t", Label=value), columns).targets == (target,)


@given(st.recursive(st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner), max_leaves=3))
def test_a_json_target_can_be_read_back(value: Any) -> None:
    columns = ColumnMap(inputs={"text": "Text"}, target="Label")
    answer = {"answer": value}
    (target,) = to_example(row(Text="t", Label=answer), columns).targets
    assert json.loads(target) == answer
    assert list(json.loads(target)) == list(answer)


def test_the_source_is_kept() -> None:
    assert to_example(row(Text="t", Label="a"), COLUMNS) == Example({"text": "t"}, ("a",), (), "t.jsonl:812")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"text": "t", "Label": "a"},
            r"no column 'Text', the input; found 'text', 'Label'\. Did you mean 'text'\?",
        ),
        (
            {"Text": "t", "x": "a"},
            r"no column 'Label', the target; found 'Text', 'x'\. Correct the row or name",
        ),
        ({}, r"no column 'Text', the input; found no columns\."),
        ({"Text": b"t", "Label": "a"}, r"column 'Text' holds bytes; expected text, a number or JSON"),
        ({"Text": {1: {2}}, "Label": "a"}, r"column 'Text' cannot be written as JSON \("),
        ({"Text": "t", "Label": float("inf")}, r"column 'Label' cannot be written as JSON \("),
        ({"Text": "ab\ud800", "Label": "a"}, r"column 'Text' holds half of a surrogate pair at character 3"),
    ],
)
def test_an_unusable_row_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=rf"^t\.jsonl line 812: {message}"):
        to_example(RawRow(values, "t.jsonl:812"), COLUMNS)


def test_a_target_may_be_absent_when_none_is_needed() -> None:
    assert to_example(row(Text="t"), COLUMNS, needs_target=False).targets == ()
    assert to_example(row(Text="t", Label="a"), COLUMNS, needs_target=False).targets == ("a",)


CHAT = ColumnMap(messages="messages")
USER, ASSISTANT = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": " Hello "}


def test_the_last_assistant_turn_is_the_target() -> None:
    turns = [{"role": "system", "content": "Be kind"}, USER, ASSISTANT, USER, {"from": "gpt", "value": "Bye"}]
    example = to_example(row(messages=turns), CHAT)
    assert [message.role for message in example.messages] == ["system", "user", "assistant", "user"]
    assert example.messages[2] == Message("assistant", " Hello ")
    assert example.targets == ("Bye",)


def test_turns_after_the_last_answer_are_left_out() -> None:
    example = to_example(row(messages=[USER, ASSISTANT, USER]), CHAT)
    assert (example.messages, example.targets) == ((Message("user", "Hi"),), ("Hello",))


def test_human_and_gpt_are_user_and_assistant() -> None:
    turns = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]
    assert to_example(row(messages=turns), CHAT) == to_example(row(messages=[USER, ASSISTANT]), CHAT)


def test_a_conversation_may_end_with_the_user_when_no_target_is_needed() -> None:
    example = to_example(row(messages=[USER, ASSISTANT, USER]), CHAT, needs_target=False)
    assert [message.role for message in example.messages] == ["user", "assistant", "user"]
    assert example.targets == ()
    assert to_example(row(messages=[USER, ASSISTANT]), CHAT, needs_target=False).targets == ("Hello",)


def test_a_target_column_beside_a_conversation_leaves_it_whole() -> None:
    columns = ColumnMap(messages="messages", target="label")
    example = to_example(row(messages=[USER, ASSISTANT], label="greeting"), columns)
    assert (len(example.messages), example.targets) == (2, ("greeting",))


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ("Hi", r"column 'messages' holds 'Hi'; expected a list of role and content"),
        ([], r"column 'messages' holds an empty conversation; expected at least one turn"),
        ([USER, "Hello"], r"column 'messages' turn 2 is 'Hello'; expected texts for role and content"),
        ([{"role": "user", "content": None}], r"turn 1 is .*; expected texts for role and content"),
        (
            [{"role": "tool", "content": "x"}],
            r"turn 1 has the role 'tool'; expected one of system, user, assistant",
        ),
        ([USER], r"the conversation has no assistant turn to learn from"),
        (
            [ASSISTANT, USER],
            r"the conversation starts with its only assistant turn; expected a user turn first",
        ),
    ],
)
def test_a_broken_conversation_is_named(turns: Any, message: str) -> None:
    with pytest.raises(DataError, match=rf"^t\.jsonl line 812: .*{message}"):
        to_example(row(messages=turns), CHAT)


def test_a_column_that_may_be_missing_is_empty_where_it_is() -> None:
    columns = ColumnMap(inputs={"text": "Text", "tone": "Tone"}, optional=frozenset({"tone"}))
    assert to_example(row(Text="a"), columns).inputs == {"text": "a", "tone": ""}
    assert to_example(row(Text="a", Tone="b"), columns).inputs == {"text": "a", "tone": "b"}
    with pytest.raises(DataError, match="no column 'Text'"):
        to_example(row(Tone="b"), columns)
