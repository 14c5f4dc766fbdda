r"""Prompt templates: text with `{{name}}` variables, and places for virtual tokens, turns and demonstrations.

The whole syntax:

- `{{name}}` is a variable; spaces inside the braces are allowed. A name is an ASCII letter or underscore,
  then letters, digits and underscores.
- `{{soft:8}}` is a place for 8 virtual tokens of a soft prompt, 1 to 1000; a text prompt leaves it out.
- `{{answer}}` is the place of the answer, for models that fill masks; one that continues text has it at the
  end, where it says nothing. Among `variables`, which a task names, it is a variable like any other.
- `{{role:system}}`, `{{role:user}}` and `{{role:assistant}}` begin a turn; without any, a prompt is one turn
  of the user's. Variables stand in the last turn, so that what is before it is the same for every row.
- `{{#demonstrations}}` ... `{{/demonstrations}}` is repeated for each example that the prompt shows, with its
  variables and, as `{{target}}`, its answer. A line break behind either marker is left out.
- A backslash before `{{` makes the braces literal: `\{{`. To put a backslash itself in front of `{{`,
  double it. Backslashes anywhere else, single braces and `}}` stand for themselves.
- Of three or more opening braces the last two open the variable, so `{{{name}}}` is a variable in braces.

There are no filters, loops or expressions, unless the language is `jinja2`: then all but the markers above is
Jinja2, as far as `tuningfork.tasks.jinja` has it. A template is read once: a value that contains `{{name}}`
stays as it is.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING

from tuningfork.data.example import Role
from tuningfork.errors import DataError, TaskError
from tuningfork.tasks.segments import (
    ANSWER,
    Answer,
    Computed,
    Demonstrations,
    Literal,
    Quoted,
    Segment,
    SoftTokens,
    TurnStart,
    Variable,
)
from tuningfork.tasks.suggestions import did_you_mean
from tuningfork.tasks.template_reading import (
    TemplateLanguage,
    join_literals,
    num_shared,
    read_template,
    variables_in,
)
from tuningfork.tasks.variables import VariableSpec, completed

if TYPE_CHECKING:
    from tuningfork.tasks.jinja.evaluator import Evaluator

__all__ = [
    "ANSWER",
    "Answer",
    "Literal",
    "PromptTemplate",
    "Segment",
    "SoftTokens",
    "Variable",
    "escape",
]

_LITERAL_BRACES = re.compile(r"(\\*)\{\{")
_LITERAL_BRACES_OR_END = re.compile(r"(\\*)\{\{|(\\+)(?=\{?\Z)")


class PromptTemplate:
    """A text with `{{name}}` variables, read once.

    Raises:
        TaskError: A `{{` is never closed, or what stands between the braces is not a name.
    """

    def __init__(
        self,
        text: str,
        *,
        variables: Collection[str] = (),
        language: TemplateLanguage = "simple",
        specs: Mapping[str, VariableSpec] | None = None,
    ) -> None:
        """Read `text`; what is among `variables` is one, even if it is called like a marker.

        `specs` say what values variables may have.
        """
        self.text = text
        self.specs = dict(specs or {})
        self.segments: tuple[Segment, ...] = read_template(text, variables, language)

    @classmethod
    def from_segments(cls, segments: Iterable[Segment]) -> "PromptTemplate":
        """Return the template that reads back as `segments`, with neighbouring literals joined."""
        joined = join_literals(segments)
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
                case _:
                    raise TypeError(f"{type(segment).__name__} is not written back as text")
        return cls("".join(parts), variables=[s.name for s in joined if isinstance(s, Variable)])

    def with_segments(self, segments: Iterable[Segment]) -> "PromptTemplate":
        """Return this template with other segments; its text stays where they are not written back."""
        changed = copy(self)
        changed.segments = join_literals(segments)
        if all(isinstance(s, Literal | Variable | SoftTokens | Answer) for s in changed.segments):
            changed.text = PromptTemplate.from_segments(changed.segments).text
        return changed

    @property
    def variables(self) -> tuple[str, ...]:
        """The names of the variables, each once, in order of first use."""
        return variables_in(self.segments)

    @property
    def demonstrations(self) -> Demonstrations | None:
        """What is repeated for each example that is shown, if the template says it."""
        return next((s for s in self.segments if isinstance(s, Demonstrations)), None)

    @property
    def has_turns(self) -> bool:
        """Whether it says which turns there are."""
        return any(isinstance(segment, TurnStart) for segment in self.segments)

    @property
    def num_shared(self) -> int:
        """How many segments stand before the first one that says something else for another row."""
        return num_shared(self.segments)

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
        return self.with_segments(before)

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
        return self.with_segments(kept)

    def check_values(self, values: Mapping[str, str]) -> None:
        """Check that `values` holds every variable.

        Raises:
            TaskError: A variable has no value.
        """
        for name in self.variables:
            if name not in values and not self.is_optional(name):
                hint = did_you_mean(name, values) or "no values were given"
                raise TaskError(f"the prompt uses {{{{{name}}}}}, which has no value: {hint}")

    def is_optional(self, name: str) -> bool:
        """Return whether a default stands for the variable `name` where a row has none."""
        return name in self.specs and self.specs[name].default is not None

    def filled(self, values: Mapping[str, str]) -> list[tuple[Segment, ...]]:
        """Return what each segment says for `values`, which are never read as templates.

        Only literals, quoted text, places and starts of turns are left.

        Raises:
            TaskError: A variable has no value.
            DataError: A value is not what its variable may be, or the template cannot be worked out with it.
        """
        self.check_values(values)
        whole = completed(self.specs, values)
        evaluator = self._evaluator(whole) if any(isinstance(s, Computed) for s in self.segments) else None
        found: list[tuple[Segment, ...]] = []
        for segment in self.segments:
            match segment:
                case Variable(name):
                    found.append((Quoted(whole[name]),))
                case Computed():
                    assert evaluator is not None
                    found.append(_worked_out(evaluator, segment))
                case Demonstrations():
                    found.append(())
                case _:
                    found.append((segment,))
        return found

    def showing(self, demonstrations: Iterable[Mapping[str, str]]) -> "PromptTemplate":
        """Return the template with its block said for each of `demonstrations`, which hold their targets.

        Raises:
            TaskError: A variable has no value.
            DataError: As for a row.
        """
        segments: list[Segment] = []
        for segment in self.segments:
            if not isinstance(segment, Demonstrations):
                segments.append(segment)
                continue
            block = copy(self)
            block.segments = segment.segments
            segments += [
                part for values in demonstrations for parts in block.filled(values) for part in parts
            ]
        return self.with_segments(segments)

    def render(self, values: Mapping[str, str]) -> str:
        """Return the text with every variable replaced by its value; values are never read as templates.

        Raises:
            TaskError: A variable has no value.
            DataError: A value is not what its variable may be, or the template cannot be worked out with it.
        """
        return plain_text(part for parts in self.words().filled(values) for part in parts)

    def said_turns(self, values: Mapping[str, str]) -> list[tuple[Role, str]]:
        """Return what `render` does, with the role of each turn apart.

        Raises:
            TaskError: A variable has no value.
            DataError: A value is not what its variable may be, or the template cannot be worked out with it.
        """
        turns: list[tuple[Role, list[Segment]]] = [("user", [])]
        for segment in (part for parts in self.words().filled(values) for part in parts):
            if isinstance(segment, TurnStart):
                turns.append((segment.role, []))
            else:
                turns[-1][1].append(segment)
        return [(role, plain_text(said)) for role, said in (turns[1:] if len(turns) > 1 else turns)]

    def _evaluator(self, values: Mapping[str, str]) -> "Evaluator":
        from tuningfork.tasks.jinja.reading import evaluator_of

        texts = {name: values[name] for name in self.variables}
        typed = {
            name: self.specs[name].value_of(text) if name in self.specs else text
            for name, text in texts.items()
        }
        return evaluator_of(texts, typed)

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


def plain_text(segments: Iterable[Segment]) -> str:
    """Return what `segments` say, with an empty line between turns."""
    turns = [""]
    for segment in segments:
        if isinstance(segment, TurnStart):
            turns.append("")
        elif isinstance(segment, Literal | Quoted):
            turns[-1] += segment.text
    return "\n\n".join(turn for turn in turns if turn)


def _worked_out(evaluator: "Evaluator", segment: Computed) -> tuple[Segment, ...]:
    from tuningfork.tasks.jinja.budget import Refused
    from tuningfork.tasks.jinja.reading import work_out

    try:
        said = work_out(evaluator, segment.part)
    except Refused as error:
        raise DataError(f"prompt line {error.line}: the template {error}") from None
    return tuple(Quoted(text) if is_data else Literal(text) for text, is_data in said)


def _ends_in_space(segments: Sequence[Segment]) -> bool:
    return not segments or (isinstance(segments[-1], Literal) and segments[-1].text[-1:].isspace())
