r"""Prompt templates: text with `{{name}}` variables, places for virtual tokens, and nothing else.

The whole syntax:

- `{{name}}` is a variable; spaces inside the braces are allowed. A name is an ASCII letter or underscore,
  then letters, digits and underscores.
- `{{soft:8}}` is a place for 8 virtual tokens of a soft prompt, 1 to 1000; a text prompt leaves it out.
- `{{answer}}` is the place of the answer, for models that fill masks; one that continues text has it at the
  end, where it says nothing. Among `variables`, which a task names, it is a variable like any other.
- A backslash before `{{` makes the braces literal: `\{{`. To put a backslash itself in front of `{{`,
  double it. Backslashes anywhere else, single braces and `}}` stand for themselves.
- Of three or more opening braces the last two open the variable, so `{{{name}}}` is a variable in braces.

There are no filters, loops, expressions or includes. A template is read once: a value that contains
`{{name}}` stays as it is.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tuningfork.errors import TaskError
from tuningfork.tasks.suggestions import did_you_mean

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SOFT = re.compile(r"soft\s*:\s*([0-9]{1,9})", re.ASCII)
_MOST_VIRTUAL_TOKENS = 1000
_ESCAPED_OR_OPENING = re.compile(r"(?P<backslashes>\\+)(?=\{\{)|(?P<opening>\{\{)(?!\{)")
_LITERAL_BRACES = re.compile(r"(\\*)\{\{")
_LITERAL_BRACES_OR_END = re.compile(r"(\\*)\{\{|(\\+)(?=\{?\Z)")


@dataclass(frozen=True, slots=True)
class Literal:
    """Text that stands as it is."""

    text: str


@dataclass(frozen=True, slots=True)
class Variable:
    """A place to fill with the value called `name`."""

    name: str


@dataclass(frozen=True, slots=True)
class SoftTokens:
    """A place for `count` virtual tokens."""

    count: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The place of the answer."""


ANSWER = "answer"
"""What its marker is called."""

Segment = Literal | Variable | SoftTokens | Answer


class PromptTemplate:
    """A text with `{{name}}` variables, read once.

    Raises:
        TaskError: A `{{` is never closed, or what stands between the braces is not a name.
    """

    def __init__(self, text: str, *, variables: Collection[str] = ()) -> None:
        """Read `text`; what is among `variables` is one, even if it is called like a marker."""
        self.text = text
        self.segments: tuple[Segment, ...] = _parse(text, variables)

    @classmethod
    def from_segments(cls, segments: Iterable[Segment]) -> "PromptTemplate":
        """Return the template that reads back as `segments`, with neighbouring literals joined."""
        joined = _join_literals(segments)
        parts = []
        for index, segment in enumerate(joined):
            match segment:
                case Variable(name):
                    parts.append("{{" + name + "}}")
                case SoftTokens(count):
                    parts.append(f"{{{{soft:{count}}}}}")
                case Answer():
                    parts.append("{{" + ANSWER + "}}")
                case Literal(text):
                    parts.append(_escape(text, is_before_variable=index + 1 < len(joined)))
        return cls("".join(parts), variables=[s.name for s in joined if isinstance(s, Variable)])

    @property
    def variables(self) -> tuple[str, ...]:
        """The names of the variables, each once, in order of first use."""
        return tuple(dict.fromkeys(s.name for s in self.segments if isinstance(s, Variable)))

    @property
    def num_virtual_tokens(self) -> int:
        """How many virtual tokens it has places for."""
        return sum(s.count for s in self.segments if isinstance(s, SoftTokens))

    @property
    def num_answers(self) -> int:
        """How many places for the answer it has."""
        return sum(isinstance(segment, Answer) for segment in self.segments)

    def without_answer(self) -> "PromptTemplate":
        """Return the template for a model that continues text: a place for the answer at its end left out.

        Raises:
            TaskError: It stands elsewhere.
        """
        if not self.num_answers:
            return self
        *before, last = self.segments
        if self.num_answers > 1 or not isinstance(last, Answer):
            raise TaskError(
                "prompt: {{answer}} must stand at the end: this model continues text and cannot fill a gap; "
                "move it there, or choose an encoder with a masked-LM head (such as BERT)"
            )
        if before and isinstance(before[-1], Literal):
            before[-1] = Literal(before[-1].text.rstrip())
        return PromptTemplate.from_segments(before)

    def words(self) -> "PromptTemplate":
        """Return the template without its places for virtual tokens, and without the space behind each."""
        kept: list[Segment] = []
        is_behind_place = False
        for segment in self.segments:
            if isinstance(segment, Literal) and is_behind_place and _ends_in_space(kept):
                segment = Literal(segment.text.removeprefix(" "))
            is_behind_place = isinstance(segment, SoftTokens)
            if not is_behind_place:
                kept.append(segment)
        return PromptTemplate.from_segments(kept)

    def check_values(self, values: Mapping[str, str]) -> None:
        """Check that `values` holds every variable.

        Raises:
            TaskError: A variable has no value.
        """
        for name in self.variables:
            if name not in values:
                hint = did_you_mean(name, values) or "no values were given"
                raise TaskError(f"the prompt uses {{{{{name}}}}}, which has no value: {hint}")

    def render(self, values: Mapping[str, str]) -> str:
        """Return the text with every variable replaced by its value; values are never read as templates.

        Raises:
            TaskError: A variable has no value.
        """
        self.check_values(values)
        texts = (
            s.text if isinstance(s, Literal) else values[s.name]
            for s in self.words().segments
            if not isinstance(s, SoftTokens | Answer)
        )
        return "".join(texts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PromptTemplate) and self.segments == other.segments

    def __hash__(self) -> int:
        return hash(self.segments)

    def __repr__(self) -> str:
        return f"PromptTemplate({self.text!r})"


def escape(text: str) -> str:
    """Return the template source whose only segment is the literal `text`."""
    return _escape(text, is_before_variable=False)


def _escape(text: str, *, is_before_variable: bool) -> str:
    def replacement(match: re.Match[str]) -> str:
        # Backslashes in front of braces are doubled; the escape of literal braces comes on top.
        trailing = match[2] if match.re is _LITERAL_BRACES_OR_END else None
        return trailing * 2 if trailing else match[1] * 2 + "\\{{"

    pattern = _LITERAL_BRACES_OR_END if is_before_variable else _LITERAL_BRACES
    return pattern.sub(replacement, text)


def _parse(text: str, variables: Collection[str]) -> tuple[Segment, ...]:
    segments: list[Segment] = []
    position = 0
    while match := _ESCAPED_OR_OPENING.search(text, position):
        segments.append(Literal(text[position : match.start()]))
        if match["opening"]:
            segment, position = _read_place(text, match.end(), variables)
            segments.append(segment)
            continue
        count = len(match["backslashes"])
        segments.append(Literal("\\" * (count // 2)))
        position = match.end()
        if count % 2:
            segments.append(Literal("{{"))
            position += 2
    segments.append(Literal(text[position:]))
    return _join_literals(segments)


def _ends_in_space(segments: Sequence[Segment]) -> bool:
    return not segments or (isinstance(segments[-1], Literal) and segments[-1].text[-1:].isspace())


def _read_place(
    text: str, start: int, variables: Collection[str]
) -> tuple[Variable | SoftTokens | Answer, int]:
    end = text.find("}}", start)
    if end < 0:
        raise TaskError(
            f"{_place(text, start - 2)}: '{{{{' is never closed; write '{{{{name}}}}' for a variable "
            r"or '\{{' for literal braces"
        )
    name = text[start:end].strip()
    if soft := _SOFT.fullmatch(name):
        count = int(soft[1])
        if not 1 <= count <= _MOST_VIRTUAL_TOKENS:
            raise TaskError(
                f"{_place(text, start - 2)}: {name!r} must be for 1 to {_MOST_VIRTUAL_TOKENS} virtual tokens"
            )
        return SoftTokens(count), end + 2
    if not _NAME.fullmatch(name):
        shown = name if len(name) <= 40 else name[:37] + "..."
        raise TaskError(
            f"{_place(text, start - 2)}: {shown!r} is not a variable name; names are letters, digits and "
            r"underscores and do not start with a digit; places for virtual tokens are {{soft:8}}. "
            r"For literal braces write '\{{'"
        )
    return (Answer() if name == ANSWER and name not in variables else Variable(name)), end + 2


def _place(text: str, offset: int) -> str:
    line = text.count("\n", 0, offset) + 1
    column = offset - (text.rfind("\n", 0, offset) + 1) + 1
    return f"prompt line {line}, column {column}"


def _join_literals(segments: Iterable[Segment]) -> tuple[Segment, ...]:
    joined: list[Segment] = []
    for segment in segments:
        if isinstance(segment, Literal):
            if not segment.text:
                continue
            if joined and isinstance(joined[-1], Literal):
                joined[-1] = Literal(joined[-1].text + segment.text)
                continue
        joined.append(segment)
    return tuple(joined)
