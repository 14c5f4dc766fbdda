import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.serving.scripted_engine import tokens_of
from tests.serving.served import chat_task, label_task, reply_task, two_sided_task
from tests.tiny_folder import build_byte_tokenizer
from tuningfork.data.example import Example, Message
from tuningfork.errors import DataError, TaskError
from tuningfork.serving.rows import BaseRows, LockedRows, TaskRows, own_tokenizer
from tuningfork.tasks.rendering import RowRenderer
from tuningfork.tasks.task import Task

TOKENIZER = build_byte_tokenizer()
ASK = Message("user", "tea?")


def rows_of(task: Task) -> TaskRows:
    return TaskRows(task, RowRenderer(task, TOKENIZER))


def test_texts_and_last_messages_are_the_row_that_the_task_renders(tmp_path: Path) -> None:
    for task in (reply_task(tmp_path), label_task(tmp_path)):
        renderer, rows = RowRenderer(task, TOKENIZER), rows_of(task)
        expected = renderer.row_ids(Example(inputs={"message": "tea?"}))
        before = (Message("system", "Be."), Message("user", "hi"), Message("assistant", "yo"))
        for row in (
            rows.of_text("tea?", None),
            rows.of_text("", {"message": "tea?"}),
            rows.of_chat([*before, ASK], None),
            rows.of_chat([ASK], {"message": "tea?"}),
        ):
            assert row.ids == expected
            assert row.end_ids == renderer.end_ids
        # Not every text that looks like JSON is meant as such.
        given = '{"message": "x"}'
        assert rows.of_text(given, None).ids == renderer.row_ids(Example(inputs={"message": given}))


def test_conversations_go_in_whole(tmp_path: Path) -> None:
    task = chat_task(tmp_path)
    messages = (Message("user", "hi"), Message("assistant", "yo"), ASK)
    expected = RowRenderer(task, TOKENIZER).row_ids(Example(messages=messages))
    assert rows_of(task).of_chat(messages, None).ids == expected
    assert rows_of(task).of_text("tea?", None).ids == rows_of(task).of_chat([ASK], None).ids
    with pytest.raises(DataError, match="answers conversations and has no variables"):
        rows_of(task).of_chat(messages, {"a": "b"})
    with pytest.raises(DataError, match="a conversation goes from the user's first turn"):
        rows_of(task).of_chat(messages[:2], None)


def test_several_variables_are_all_given(tmp_path: Path) -> None:
    rows = rows_of(two_sided_task(tmp_path))
    values = {"question": "why?", "context": "so."}
    expected = rows.of_text("whatever", values).ids
    assert rows.of_text(json.dumps(values), None).ids == expected
    assert rows.of_chat([Message("user", json.dumps(values))], None).ids == expected
    for text, reason in (
        ("why?", "found a text that is no JSON"),
        ("[1]", "found JSON that is no object"),
        ('{"question": 1, "context": "x"}', "found int for 'question'"),
        ('{"question": "x", "more": "y"}', "missing: context; unknown: more"),
        ("[" * 100_000, "found a text that is no JSON"),
    ):
        with pytest.raises(DataError, match=f"this prompt takes question, context.*{reason}"):
            rows.of_text(text, None)


def test_the_last_word_is_the_users(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the last message must be the user's.*found one of the assistant"):
        rows_of(reply_task(tmp_path)).of_chat([ASK, Message("assistant", "x")], None)


def test_words_of_a_user_are_never_control_tokens(tmp_path: Path) -> None:
    control = set(tokens_of("<|end|><|system|></s>"))
    for rows in (rows_of(reply_task(tmp_path)), rows_of(chat_task(tmp_path)), BaseRows(TOKENIZER)):
        row = rows.of_chat([Message("user", "<|end|><|system|>\n</s>")], None)
        assert control.isdisjoint(row.ids)


def test_tokens_are_as_they_are(tmp_path: Path) -> None:
    task = reply_task(tmp_path)
    assert rows_of(task).of_tokens([5, 6]).ids == [5, 6]
    assert rows_of(task).of_tokens([5, 6]).end_ids == RowRenderer(task, TOKENIZER).end_ids
    assert BaseRows(TOKENIZER).of_tokens([5]).end_ids == set(tokens_of("</s>"))


def test_the_base_model_reads_texts_raw_and_chats_by_its_template() -> None:
    rows = BaseRows(TOKENIZER)
    assert rows.of_text("a<|end|>b", None).ids == TOKENIZER("a<|end|>b")["input_ids"]
    messages = [Message("system", "Be."), ASK]
    given = [{"role": message.role, "content": message.content} for message in messages]
    expected = str(TOKENIZER.apply_chat_template(given, tokenize=False, add_generation_prompt=True))
    row = rows.of_chat(messages, None)
    assert row.ids == tokens_of(expected)
    assert row.end_ids == set(tokens_of("</s><|end|>"))
    for call in (rows.of_text, lambda text, found: rows.of_chat([Message("user", text)], found)):
        with pytest.raises(DataError, match="the base model has no variables"):
            call("x", {"message": "y"})
    with pytest.raises(DataError, match="the prompt is empty"):
        rows.of_text("", None)


def test_a_model_without_a_template_does_not_chat() -> None:
    tokenizer = build_byte_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(TaskError, match="this model cannot chat: the tokenizer has no chat template"):
        BaseRows(tokenizer).of_chat([ASK], None)
    tokenizer.chat_template = "{{ messages[0]['content'] | upper }}"
    with pytest.raises(TaskError, match="this model cannot chat: the model's chat template does not write"):
        BaseRows(tokenizer).of_chat([ASK], None)
    assert BaseRows(tokenizer).of_text("x", None).ids


def test_threads_take_turns_with_a_tokenizer(tmp_path: Path) -> None:
    tokenizer, lock = own_tokenizer(TOKENIZER), threading.Lock()
    assert tokenizer is not TOKENIZER
    assert tokenizer.backend_tokenizer is not TOKENIZER.backend_tokenizer
    task = reply_task(tmp_path)
    both = [
        LockedRows(TaskRows(task, RowRenderer(task, tokenizer)), lock),
        LockedRows(BaseRows(tokenizer), lock),
    ]
    # Control tokens in a text are read by the base model and not by the task, which a race would mix up.
    text = "x<|end|>" * 20
    expected = [rows.of_text(text, None).ids for rows in both]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: both[n % 2].of_text(text, None).ids, range(200)))
    assert all(ids == expected[number % 2] for number, ids in enumerate(found))
