"""What an answer must look like, token by token: JSON of a schema, a pattern, or one of several texts."""

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from tuningfork.errors import MissingDependencyError, ServingError
from tuningfork.serving.requests import Grammar
from tuningfork.types import TokenIds

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer
    from transformers import PreTrainedTokenizerBase

_JSON_LAYOUT = {"whitespace_flexible": False, "item_separator": ", ?", "key_separator": ": ?"}
"""One line, with at most a space behind a comma or colon: else a model may write spaces for ever."""
_LIMITS: dict[str, Any] = {
    "initial_lexer_fuel": 2_000_000,
    "step_lexer_fuel": 200_000,
    "step_max_items": 50_000,
    "max_lexer_states": 50_000,
    "max_grammar_size": 200_000,
    "verbose_errors": False,
}
"""So that neither reading a grammar nor a step takes more than some tens of milliseconds."""
_MOST_KEPT = 256
_LONGEST_REASON = 300


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """What a client wants an answer to look like."""

    kind: Literal["json", "regex", "choice"]
    text: str
    """A JSON Schema, a regular expression, or a JSON list of texts."""

    @classmethod
    def of_schema(cls, schema: Mapping[str, Any] | str) -> "AnswerForm":
        """JSON that a JSON Schema describes."""
        return cls("json", schema if isinstance(schema, str) else json.dumps(schema, ensure_ascii=False))

    @classmethod
    def of_choices(cls, choices: Sequence[str]) -> "AnswerForm":
        """One of `choices`, word for word."""
        return cls("choice", json.dumps(list(choices), ensure_ascii=False))


ANY_OBJECT = AnswerForm("json", '{"type": "object"}')


class GrammarSource(Protocol):
    """Makes a grammar of its own for each answer of one request."""

    def grammar(self, end_ids: Collection[int]) -> Grammar:
        """A grammar at its beginning; an answer that is whole may end with any of `end_ids`."""


class FormCompiler:
    """Reads forms for one vocabulary; each form is read once, and kept for later requests."""

    def __init__(
        self, tokenizer: "PreTrainedTokenizerBase", vocabulary_size: int, *, most_characters: int = 2**16
    ) -> None:
        """Refuse forms that are longer than `most_characters`."""
        self._tokenizer = tokenizer
        self._vocabulary_size = vocabulary_size
        self._most_characters = most_characters
        self._lock = threading.Lock()
        self._vocabulary: LLTokenizer | None = None
        self._kept: OrderedDict[AnswerForm, LLMatcher] = OrderedDict()

    def compile(self, form: AnswerForm) -> "CompiledForm":
        """Read `form`.

        Raises:
            ServingError: it is too long, is none, uses what is not supported, or no answer is like it; the
                message says which.
            MissingDependencyError: llguidance is not installed.
        """
        if len(form.text) > self._most_characters:
            raise ServingError(
                f"the {_NAMES[form.kind]} has {len(form.text)} characters, and at most "
                f"{self._most_characters} are read"
            )
        with self._lock:
            matcher = self._kept.get(form)
            if matcher is None:
                matcher = self._kept[form] = self._read(form)
                while len(self._kept) > _MOST_KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(form)
            return CompiledForm(matcher, self._vocabulary_size)

    def _read(self, form: AnswerForm) -> "LLMatcher":
        try:
            from llguidance import LLMatcher, LLParserLimits
            from llguidance.hf import from_tokenizer
        except ImportError as error:
            raise MissingDependencyError("llguidance", "serve", "an answer of a given form") from error
        if self._vocabulary is None:
            self._vocabulary = from_tokenizer(self._tokenizer, n_vocab=self._vocabulary_size)  # type: ignore[arg-type]
        try:
            source = _source(form, LLMatcher)
        except (ValueError, TypeError, RecursionError) as error:
            raise _refused(form, str(error)) from None
        matcher = LLMatcher(self._vocabulary, source, log_level=0, limits=LLParserLimits(**_LIMITS))
        if not matcher.is_error():
            # What can be read may still be more than a step may take, or allow no beginning.
            matcher.compute_bitmask()
        if matcher.is_error():
            raise _refused(form, matcher.get_error())
        if matcher.is_stopped() and not matcher.is_accepting():
            raise _refused(form, "no answer is like it")
        return matcher


class CompiledForm:
    """A form that was read: a source of grammars."""

    def __init__(self, matcher: "LLMatcher", vocabulary_size: int) -> None:
        self._matcher = matcher
        self._vocabulary_size = vocabulary_size

    def grammar(self, end_ids: Collection[int]) -> Grammar:
        """A grammar at its beginning; an answer that is whole may end with any of `end_ids`."""
        return FormGrammar(self._matcher.deep_copy(), self._vocabulary_size, end_ids)


class FormGrammar:
    """One answer that is held to a form."""

    def __init__(self, matcher: "LLMatcher", vocabulary_size: int, end_ids: Collection[int]) -> None:
        self._matcher = matcher
        self._size = vocabulary_size
        self._end_ids = [token for token in end_ids if token < vocabulary_size]
        self._has_ended = False

    def allowed(self) -> Tensor:
        """Whether each token (V,) may come next; booleans on the CPU.

        Raises:
            ServingError: the form became too much to follow.
        """
        if self._has_ended or (self._matcher.is_stopped() and self._matcher.is_accepting()):
            allowed = np.zeros(self._size, dtype=bool)
            may_end = True
        else:
            bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
            if self._matcher.is_error():
                raise ServingError(f"the answer cannot go on in its form: {_line(self._matcher.get_error())}")
            allowed = np.unpackbits(bits, count=self._size, bitorder="little").astype(bool)
            may_end = self._matcher.is_accepting()
        # Which token ends an answer is the request's matter, not the tokenizer's.
        allowed[self._end_ids] = may_end
        return torch.from_numpy(allowed)

    def accept(self, token: int) -> None:
        """Go on behind `token`.

        Raises:
            ServingError: it was not allowed.
        """
        if token in self._end_ids:
            self._has_ended = True
        elif self._has_ended or not self._matcher.consume_token(token):
            raise ServingError(f"token {token} was not allowed by the form of the answer")


class LabelSource:
    """Answers that are one of several sequences of tokens, their end included: the labels of a task."""

    def __init__(self, labels: Sequence[TokenIds], vocabulary_size: int) -> None:
        self._labels = [tuple(label) for label in labels]
        self._size = vocabulary_size

    def grammar(self, end_ids: Collection[int]) -> Grammar:
        """A grammar at its beginning; behind a whole label only `end_ids` may follow."""
        return LabelGrammar(self._labels, self._size, end_ids)


class LabelGrammar:
    """One answer that is held to the labels of a task."""

    def __init__(self, labels: Sequence[tuple[int, ...]], size: int, end_ids: Collection[int]) -> None:
        self._open = list(labels)
        self._size = size
        self._end_ids = list(end_ids)
        self._num_said = 0

    def allowed(self) -> Tensor:
        """Whether each token (V,) may come next; booleans on the CPU."""
        allowed = torch.zeros(self._size, dtype=torch.bool)
        following = [label[self._num_said] for label in self._open if len(label) > self._num_said]
        allowed[following or self._end_ids] = True
        return allowed

    def accept(self, token: int) -> None:
        """Go on behind `token`.

        Raises:
            ServingError: it was not allowed.
        """
        place = self._num_said
        going_on = [label for label in self._open if len(label) > place and label[place] == token]
        if not going_on and any(len(label) > place for label in self._open):
            raise ServingError(f"token {token} was not allowed: it goes on no label")
        self._open, self._num_said = going_on, place + 1


_NAMES = {"json": "JSON Schema", "regex": "regular expression", "choice": "list of choices"}


def _source(form: AnswerForm, matcher: "type[LLMatcher]") -> str:
    if form.kind == "json":
        return matcher.grammar_from_json_schema(form.text, overrides=dict(_JSON_LAYOUT))  # type: ignore[arg-type]
    if form.kind == "regex":
        return matcher.grammar_from_regex(form.text)
    choices = json.loads(form.text)
    if not choices or not all(choices):
        raise ValueError("there must be at least one choice, and none may be empty")
    return matcher.grammar_from_regex("|".join(_escaped(choice) for choice in choices))


def _escaped(text: str) -> str:
    # What Python escapes beyond marks of a pattern (a space, a line's end) stands for itself here.
    return re.sub(r"([\\.^$*+?{}\[\]|()&~#\-/])", r"\\\1", text)


def _refused(form: AnswerForm, reason: str) -> ServingError:
    return ServingError(f"the {_NAMES[form.kind]} cannot be used: {_line(reason)}")


def _line(reason: str) -> str:
    """The beginning of a reason, on one line."""
    line = " ".join("".join(c if c.isprintable() else " " for c in reason).split())
    return line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]}..."
