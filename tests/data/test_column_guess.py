from typing import Any

import pytest

from tuningfork.data.column_guess import guess_columns
from tuningfork.data.columns import ColumnMap, to_example
from tuningfork.data.rows import RawRow
from tuningfork.errors import DataError


def rows_of(names: str, count: int = 6, **values: Any) -> list[RawRow]:
    """Rows whose columns hold their own name and number, unless `values` says what they hold."""
    return [
        RawRow({name: values.get(name, f"{name} {i}") for name in names.split(",")}, f"t.csv:{i + 2}")
        for i in range(count)
    ]


@pytest.mark.parametrize(
    ("names", "inputs", "target"),
    [
        ("message,reply", ["message"], "reply"),
        ("queue,text", ["text"], "queue"),
        ("Input,Output", ["Input"], "Output"),
        ("id,created_at,question,answer", ["question"], "answer"),
        ("instruction,input,output", ["instruction", "input"], "output"),
        ("premise,hypothesis,label", ["premise", "hypothesis"], "label"),
        ("subject,body,queue", ["subject", "body"], "queue"),
        ("customer_message,agent_reply", ["customer_message"], "agent_reply"),
        ("CustomerMessage,TicketCategory", ["CustomerMessage"], "TicketCategory"),
        ("message_id,text,label", ["text"], "label"),
        ("text,label,label_text", ["text"], "label_text"),
        ("text,is_spam", ["text"], "is_spam"),
        ("utterance_de,sentiment", ["utterance_de"], "sentiment"),
        ("english,target", ["english"], "target"),
    ],
)
def test_names_decide(names: str, inputs: list[str], target: str) -> None:
    guess = guess_columns(rows_of(names))
    assert (list(guess.inputs.values()), guess.target, guess.messages) == (inputs, target, None)
    assert f"target `{target}`" in guess.explanation
    assert all(f"`{name}`" in guess.explanation for name in inputs)


def test_variables_can_stand_in_a_template() -> None:
    guess = guess_columns(rows_of("Customer message,message (2),2nd message,customer-message,Label"))
    assert guess.inputs == {
        "Customer_message": "Customer message",
        "message_2": "message (2)",
        "column_2nd_message": "2nd message",
        "customer_message": "customer-message",
    }
    assert list(guess_columns(rows_of("text a,text-a,label")).inputs) == ["text_a", "text_a_"]


def test_fewer_different_values_are_the_target() -> None:
    rows = [RawRow({"a": "xyz"[i % 3], "b": f"{i}"}, "") for i in range(30)]
    guess = guess_columns(rows)
    assert (guess.inputs, guess.target) == ({"b": "b"}, "a")
    assert "(3 different values in 30 rows, `b` has 30)" in guess.explanation


def test_shorter_values_are_the_target() -> None:
    rows = [RawRow({"long": f"a rather long text {i}", "short": f"text {i}"}, "") for i in range(30)]
    guess = guess_columns(rows)
    assert (guess.inputs, guess.target) == ({"long": "long"}, "short")
    assert "characters, `long` has" in guess.explanation


def test_content_decides_between_two_names_for_answers() -> None:
    rows = [
        RawRow({"response": f"I liked it {i}", "sentiment": "good" if i % 2 else "bad"}, "") for i in range(9)
    ]
    assert guess_columns(rows).target == "sentiment"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            "text,category,answer",
            r"'category' and 'answer' could each be the target; found 'text', 'category'",
        ),
        (
            "a,b,c",
            r"no column is named like a target; found 'a', 'b', 'c'\. Name them: --input COLUMN --target",
        ),
        ("a,b", "their values are equally long and varied"),
        ("a,b,label", "several columns could be the input"),
        ("text", "no column is named like a target"),
        ("label", "no column is left for the input"),
        ("id,label", "no column is left for the input"),
    ],
)
def test_a_guess_is_refused_when_the_sample_does_not_tell(names: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"^t\.csv: cannot tell which columns are .*{message}"):
        guess_columns(rows_of(names))


def test_columns_that_hold_nothing_do_not_count() -> None:
    assert guess_columns(rows_of("text,label,answer", answer="")).target == "label"
    assert guess_columns(rows_of("text,label,answer", answer=None)).target == "label"
    with pytest.raises(DataError, match="found no filled columns"):
        guess_columns(rows_of("text,label", text="", label=None))
    with pytest.raises(DataError, match="no rows to guess the columns from"):
        guess_columns([])


def test_no_target_is_guessed_when_none_is_needed() -> None:
    assert guess_columns(rows_of("text"), needs_target=False).target is None
    assert guess_columns(rows_of("question,context"), needs_target=False).inputs == {
        "question": "question",
        "context": "context",
    }
    assert guess_columns(rows_of("text,label"), needs_target=False).target == "label"
    assert guess_columns(rows_of("text,label,answer"), needs_target=False).target is None


@pytest.mark.parametrize(
    "turn",
    [
        {"role": "user", "content": "Hi"},
        {"from": "human", "value": "Hi"},
        {"role": "u", "content": "", "x": 1},
    ],
)
def test_conversations_are_recognised(turn: dict[str, Any]) -> None:
    guess = guess_columns(rows_of("id,Conversations,label", Conversations=[turn]))
    assert guess == ColumnMap(messages="Conversations", explanation=guess.explanation)
    assert "conversations in `Conversations`" in guess.explanation


def test_a_list_of_other_things_is_no_conversation() -> None:
    with pytest.raises(DataError, match="cannot tell"):
        guess_columns(rows_of("messages", messages=["Hi"]))


@pytest.mark.parametrize(
    ("value", "is_json"), [({"a": 1}, True), ([{"a": 1}], True), (["a"], False), ("a", False)]
)
def test_structured_targets_are_recognised(value: Any, is_json: bool) -> None:
    rows = [*rows_of("text,output", output=value), *rows_of("text,output", output=[])]
    guess = guess_columns(rows)
    assert guess.is_json_target is is_json
    assert to_example(rows[-1], guess).targets == (("[]",) if is_json else ())
