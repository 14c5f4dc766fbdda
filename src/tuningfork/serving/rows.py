"""Requests as token ids: through the task's own template, as when its prompt was measured, or as they are."""

import copy
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tuningfork.data.example import Example, Message
from tuningfork.errors import DataError, TaskError
from tuningfork.tasks.encoding import Piece, TextEncoder
from tuningfork.tasks.rendering import RowRenderer
from tuningfork.tasks.task import Task
from tuningfork.tasks.turns import ChatFormat
from tuningfork.types import TokenIds

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Variables = Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class Row:
    """What stands behind a prompt in one request, and the tokens that end the answer to it."""

    ids: TokenIds
    end_ids: frozenset[int]


class RowMaker(Protocol):
    """Makes rows of what clients send to one prompt."""

    def of_text(self, text: str, variables: Variables) -> Row:
        """The row of one text.

        Raises:
            DataError: the text, or the variables, are not what the prompt takes.
        """

    def of_chat(self, messages: Sequence[Message], variables: Variables) -> Row:
        """The row of a conversation that ends before the answer.

        Raises:
            DataError: the messages, or the variables, are not what the prompt takes.
            TaskError: there is no chat template, or it refuses the order of the turns.
        """

    def of_tokens(self, ids: TokenIds) -> Row:
        """The row of tokens, as they are."""


class TaskRows:
    """Rows of a task, as its examples are rendered everywhere else."""

    def __init__(self, task: Task, renderer: RowRenderer) -> None:
        self._task = task
        self._renderer = renderer

    def of_text(self, text: str, variables: Variables) -> Row:
        """The row whose one variable is `text`.

        Where the task has several, `variables` gives them, or `text` is a JSON object that does. In a
        conversation, `text` is the user's turn.

        Raises:
            DataError: variables are missing, unknown, or given twice.
            TaskError: the tokenizer makes a control token out of the text.
        """
        if self._task.is_conversation:
            return self.of_chat([Message("user", text)], variables)
        return self._rendered(Example(inputs=self._inputs(text, variables)))

    def of_chat(self, messages: Sequence[Message], variables: Variables) -> Row:
        """The row of the last message, which is the user's; in a conversation, of all of them.

        Raises:
            DataError: as `of_text`, or the last message is not the user's.
            TaskError: as `of_text`.
        """
        if self._task.is_conversation:
            if variables is not None:
                raise DataError("this prompt answers conversations and has no variables; leave them out")
            return self._rendered(Example(messages=tuple(messages)))
        if messages[-1].role != "user":
            raise DataError(
                f"the last message must be the user's, which is what this prompt answers; found one of the "
                f"{messages[-1].role}"
            )
        return self.of_text(messages[-1].content, variables)

    def of_tokens(self, ids: TokenIds) -> Row:
        """The row of `ids`: they stand directly behind the prompt, without the rest of the template."""
        return Row(ids, self._renderer.end_ids)

    def _rendered(self, example: Example) -> Row:
        return Row(self._renderer.row_ids(example), self._renderer.end_ids)

    def _inputs(self, text: str, variables: Variables) -> dict[str, str]:
        names = tuple(self._task.template.variables)
        if variables is None:
            if len(names) == 1:
                return {names[0]: text}
            variables = _read_variables(text, names)
        missing = [name for name in names if name not in variables]
        unknown = [name for name in variables if name not in names]
        if missing or unknown:
            raise DataError(
                f"this prompt takes {', '.join(names)}; missing: {', '.join(missing) or 'none'}; unknown: "
                f"{', '.join(unknown) or 'none'}"
            )
        return dict(variables)


class BaseRows:
    """Rows of the bare base model: chats through its chat template, texts as they are."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self._tokenizer = tokenizer
        self._encoder = TextEncoder(tokenizer)
        end = tokenizer.eos_token_id
        self._text_ends = frozenset([end] if isinstance(end, int) else [])
        self._chat: ChatFormat | None = None
        self._why_no_chat = "the tokenizer has no chat template"
        if tokenizer.chat_template:
            try:
                self._chat = ChatFormat(tokenizer, self._encoder)
            except TaskError as error:
                self._why_no_chat = str(error)

    def of_text(self, text: str, variables: Variables) -> Row:
        """The row of `text` as the tokenizer reads it, control tokens included.

        Raises:
            DataError: variables are given, or there is not one token.
        """
        _refuse(variables)
        ids = self._tokenizer(text, verbose=False)["input_ids"]
        if not ids:
            raise DataError("the prompt is empty, and the base model needs a token to go on behind")
        return Row(list(ids), self._text_ends)

    def of_chat(self, messages: Sequence[Message], variables: Variables) -> Row:
        """The row of a conversation in the model's chat template; no message can pose as a part of it.

        Raises:
            DataError: variables are given.
            TaskError: there is no chat template, or it refuses the order of the turns.
        """
        _refuse(variables)
        if self._chat is None:
            raise TaskError(f"this model cannot chat: {self._why_no_chat}; use /v1/completions")
        first, *between = self._chat.between([message.role for message in messages], opens_answer=True)
        pieces = [Piece(first)]
        for message, text in zip(messages, between, strict=True):
            pieces += [Piece(message.content, is_data=True), Piece(text)]
        end = self._encoder.encode([Piece(self._chat.end_of_turn)])[-1]
        return Row(self._encoder.with_leading(self._encoder.encode(pieces)), self._text_ends | {end})

    def of_tokens(self, ids: TokenIds) -> Row:
        """The row of `ids`."""
        return Row(ids, self._text_ends)


class LockedRows:
    """Rows that one thread at a time makes: tokenizers are changed while they read."""

    def __init__(self, rows: RowMaker, lock: threading.Lock) -> None:
        self._rows = rows
        self._lock = lock

    def of_text(self, text: str, variables: Variables) -> Row:
        """As that of the rows inside."""
        with self._lock:
            return self._rows.of_text(text, variables)

    def of_chat(self, messages: Sequence[Message], variables: Variables) -> Row:
        """As that of the rows inside."""
        with self._lock:
            return self._rows.of_chat(messages, variables)

    def of_tokens(self, ids: TokenIds) -> Row:
        """As that of the rows inside."""
        return self._rows.of_tokens(ids)


def own_tokenizer(tokenizer: "PreTrainedTokenizerBase") -> "PreTrainedTokenizerBase":
    """A copy of `tokenizer`: reading text sets options of the one that reads, which others may be using."""
    return copy.deepcopy(tokenizer)


def _read_variables(text: str, names: Sequence[str]) -> dict[str, str]:
    expected = f"this prompt takes {', '.join(names)}: send a JSON object with these as texts, or `variables`"
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise DataError(f"{expected}; found a text that is no JSON") from None
    if not isinstance(found, dict):
        raise DataError(f"{expected}; found JSON that is no object")
    for name, value in found.items():
        if not isinstance(value, str):
            raise DataError(f"{expected}; found {type(value).__name__} for {name!r:.80}")
    return found


def _refuse(variables: Variables) -> None:
    if variables is not None:
        raise DataError("the base model has no variables; leave them out, or name a prompt that has")
