from pathlib import Path
from typing import Any

import pytest

from tuningfork.data.example import Example, Message
from tuningfork.errors import DataError, TaskError
from tuningfork.tasks.chat import chat_messages, why_no_chat
from tuningfork.tasks.task import Task, TaskData

LABELS = {"pos": "good", "neg": "bad"}


def task(**fields: Any) -> Task:
    data = TaskData(train="rows.csv", inputs={"text": "text"}, target="label")
    given: dict[str, Any] = {
        "name": "t",
        "type": "generation",
        "prompt": "Answer {{text}}.",
        "metric": "chrf",
    }
    return Task(**(given | {"data": data} | fields))


def classification(**fields: Any) -> Task:
    return task(**({"type": "classification", "labels": LABELS, "metric": "accuracy"} | fields))


def conversation(**fields: Any) -> Task:
    data = TaskData(train="rows.jsonl", messages="messages")
    return task(**({"data": data, "prompt": "Be kind."} | fields))


def test_the_prompt_is_one_user_turn() -> None:
    example = Example(inputs={"text": "{{text}} or tea"}, targets=("yes",))
    assert chat_messages(task(), example) == [Message("user", "Answer {{text}} or tea.")]


def test_virtual_tokens_and_a_gap_at_the_end_are_left_out() -> None:
    example = Example(inputs={"text": "tea"})
    asked = chat_messages(classification(prompt="{{soft:4}} Is {{text}} good? {{answer}}"), example)
    assert asked[0].content.splitlines()[0] == "Is tea good?"


def test_labels_are_asked_for_by_their_words() -> None:
    (asked,) = chat_messages(classification(), Example(inputs={"text": "tea"}))
    assert asked.content == (
        "Answer tea.\n\nAnswer with exactly one of these lines and nothing else:\ngood\nbad"
    )


def test_a_conversation_stands_below_the_prompt() -> None:
    messages = (
        Message("system", "It rains."),
        Message("user", "Hi"),
        Message("assistant", "Hello"),
        Message("user", "Tea?"),
    )
    assert chat_messages(conversation(), Example(messages=messages)) == [
        Message("system", "Be kind."),
        Message("user", "It rains.\n\nHi"),
        Message("assistant", "Hello"),
        Message("user", "Tea?"),
    ]
    sorting = conversation(type="classification", labels=LABELS, metric="accuracy")
    first = chat_messages(sorting, Example(messages=messages))[0]
    assert first.content.startswith("Be kind.\n\nAnswer with exactly one")


@pytest.mark.parametrize("roles", [(), ("assistant", "user"), ("user", "assistant"), ("system",)])
def test_a_conversation_in_another_order_is_refused(roles: tuple[Any, ...], tmp_path: Path) -> None:
    source = f"{tmp_path}/rows.jsonl:3"
    example = Example(messages=tuple(Message(role, "x") for role in roles), source=source)
    with pytest.raises(DataError, match=r"rows.jsonl.*3: a conversation goes from the user's first turn"):
        chat_messages(conversation(), example)


def test_a_missing_value_is_refused() -> None:
    with pytest.raises(TaskError, match=r"the prompt uses \{\{text\}\}, which has no value"):
        chat_messages(task(), Example())


def test_what_cannot_be_asked_says_why() -> None:
    gap = classification(prompt="It is {{answer}}: {{text}}")
    assert why_no_chat(gap) == "the prompt has a gap to fill, and a chat continues text"
    tags = task(type="token_classification", labels=["O", "B-X"], metric="token_accuracy", prompt="{{text}}")
    assert why_no_chat(tags) == "words are tagged, which answers in text do not do"
    assert why_no_chat(classification()) is None
    with pytest.raises(TaskError, match="task t: the prompt has a gap to fill"):
        chat_messages(gap, Example(inputs={"text": "tea"}))
