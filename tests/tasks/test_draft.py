import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.data.example import Example, Message
from tuningfork.errors import TaskError
from tuningfork.tasks.draft import draft_task
from tuningfork.tasks.task import Task

QUEUES = ["card_payment", "cash", "card_payment", "top_up", "cash", "top_up"] * 2
REPLIES = [
    "Yes, we have oat milk at no extra cost.",
    "We open at seven on weekdays and at nine on Sundays, holidays included.",
    "Sorry to hear that, your next coffee is on us.",
]
ORDERS = [
    {"item": "latte", "count": 2, "extras": ["oat"]},
    {"item": "tea", "count": 1, "extras": []},
    {"item": "tea", "count": 1, "extras": [], "note": {"by": "Ann"}},
]


def rows(targets: Sequence[str], text: str = "hello") -> list[Example]:
    return [Example(inputs={"message": text}, targets=(target,)) for target in targets]


def draft(examples: Sequence[Example], target: str = "queue") -> tuple[Task, list[str]]:
    return draft_task(examples, name="demo", data_path="a.csv", inputs={"message": "text"}, target=target)


def test_short_repeating_targets_are_labels() -> None:
    task, notes = draft(rows(QUEUES))
    assert task.type == "classification"
    assert task.metric == "accuracy"
    assert task.labels == {"card_payment": "card payment", "cash": "cash", "top_up": "top up"}
    assert task.prompt == (
        "Read the message and choose the right queue. Answer with exactly one of these, and nothing else: "
        "card payment, cash, top up.\n\nMessage: {{message}}\nQueue:"
    )
    assert task.max_new_tokens == 16
    assert task.data.model_dump(exclude_none=True) == {
        "train": "a.csv",
        "inputs": {"message": "text"},
        "target": "queue",
    }
    assert "Type classification: the 12 targets are 3 different short texts that repeat." in notes
    assert "Labels are said in plain words: 'card_payment' as 'card payment'." in notes
    assert all(note.endswith(".") for note in notes)


def test_different_long_targets_are_to_be_generated() -> None:
    task, notes = draft(rows(REPLIES), target="reply")
    assert task.type == "generation"
    assert task.metric == "chrf"
    assert task.labels is None
    assert task.prompt == (
        "Write the reply for the message below. It usually has 9 to 13 words, on one line. "
        "Write nothing else.\n\nMessage: {{message}}\nReply:"
    )
    assert task.max_new_tokens == 48
    assert "At most 48 new tokens: the longest answer has 71 characters." in notes


def test_json_objects_are_to_be_extracted() -> None:
    task, notes = draft(rows([json.dumps(order) for order in ORDERS]), target="order")
    assert task.type == "extraction"
    assert task.metric == "field_f1"
    assert task.output_schema is not None
    assert task.output_schema["required"] == ["item", "count", "extras"]
    assert task.prompt.endswith(
        "nothing else:\n- item (text)\n- count (whole number)\n- extras (list of text)\n- note.by (text)"
        "\n\nMessage: {{message}}\nJSON:"
    )
    assert "Output schema: 4 fields with the types seen in the targets." in notes


def test_one_target_that_is_not_json_makes_no_extraction() -> None:
    assert draft(rows([*(json.dumps(order) for order in ORDERS), "none"]))[0].type == "generation"


@pytest.mark.parametrize(
    "targets",
    [
        ["same"] * 10,
        ["a", "b", "c", "d"],
        ["a", "a", "b", "c", "d", "e", "f", "g"],
        ["x" * 61, "y"] * 5,
        ["two\nlines", "y"] * 5,
    ],
)
def test_what_does_not_look_like_labels_is_generated(targets: list[str]) -> None:
    assert draft(rows(targets))[0].type == "generation"


def test_a_rare_label_among_many_rows_is_still_a_label() -> None:
    task = draft(rows(["a", "b"] * 6 + ["rare"]))[0]
    assert task.labels == {"a": "a", "b": "b", "rare": "rare"}


def test_labels_that_read_alike_keep_their_own_spelling() -> None:
    assert draft(rows(["a_b", "a b", "c_d"] * 4))[0].labels == {"a b": "a b", "a_b": "a_b", "c_d": "c d"}


def test_numbers_as_labels_ask_for_words() -> None:
    notes = draft(rows(["0", "1"] * 5))[1]
    assert "The labels are numbers: under labels, write in words what each means." in notes


def test_labels_with_commas_or_braces_are_listed_safely() -> None:
    task = draft(rows(["yes, please", "{{no}}"] * 5))[0]
    rendered = task.template.render({"message": "hi"})
    assert "nothing else:\n- yes, please\n- {{no}}\n\nMessage: hi\nQueue:" in rendered


def test_several_inputs_and_values_of_several_lines() -> None:
    examples = [
        Example(inputs={"email_subject": "hi", "body": "one\ntwo"}, targets=(reply,)) for reply in REPLIES
    ]
    inputs = {"email_subject": "Subject", "body": "Body"}
    task, _ = draft_task(
        examples, name="mail", data_path="a.csv", test_path="b.csv", inputs=inputs, target="Suggested_Reply"
    )
    assert task.prompt.startswith("Write the Suggested Reply for the email subject and body below.")
    assert task.prompt.endswith("\n\nEmail subject: {{email_subject}}\nBody:\n{{body}}\nSuggested Reply:")
    assert task.data.test == "b.csv"


def test_conversations_get_an_instruction_without_variables() -> None:
    examples = [Example(messages=(Message("user", "hi"),), targets=(reply,)) for reply in REPLIES]
    task, _ = draft_task(
        examples, name="chat", data_path="a.jsonl", inputs={}, target=None, messages="messages"
    )
    assert task.is_conversation
    assert task.prompt.startswith(
        "You are a helpful assistant. Answer the user's last message. It usually has"
    )
    labelled = [Example(messages=(Message("user", "hi"),), targets=(queue,)) for queue in QUEUES]
    task, _ = draft_task(
        labelled, name="chat", data_path="a.jsonl", inputs={}, target=None, messages="messages"
    )
    assert task.prompt.startswith("Read the conversation and choose the right label. Answer with exactly one")


def test_style_is_described() -> None:
    listed = ["- one two\n- three\n- four", "- five\n- six seven\n- eight", "- nine\n- ten\n- eleven twelve"]
    assert "It usually has about 7 words, on about 3 lines, in lower case." in draft(rows(listed))[0].prompt


def test_room_grows_with_the_longest_answer_up_to_a_limit() -> None:
    assert draft(rows(["short", "x" * 1000]))[0].max_new_tokens == 416
    assert draft(rows(["short", "x" * 100_000]))[0].max_new_tokens == 1024


def test_rows_without_targets_teach_nothing() -> None:
    with pytest.raises(TaskError, match=r"^a.csv: no row has a target"):
        draft([Example(inputs={"message": "hi"})])


TARGETS = st.text(min_size=1, max_size=20).filter(lambda text: bool(text.strip()))


@given(
    st.lists(TARGETS, min_size=1, max_size=8, unique_by=lambda text: " ".join(text.split())),
    st.integers(1, 3),
    TARGETS,
)
def test_any_data_gives_a_task_that_renders(targets: list[str], repeats: int, column: str) -> None:
    task, notes = draft(rows(targets * repeats), target=column)
    assert notes
    assert "Message: hello {{x}}\n" in task.template.render({"message": "hello {{x}}"})
