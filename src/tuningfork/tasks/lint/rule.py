"""What a rule looks at, what it finds, and how it shows that it works."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tuningfork.data.example import Example
from tuningfork.errors import TaskError
from tuningfork.tasks.task import Task

Severity = Literal["error", "warning"]

_PLACE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is likely to be wrong, and where."""

    rule: str
    severity: Severity
    place: str
    message: str


@dataclass(frozen=True, slots=True)
class ModelView:
    """What a model makes of a task: the tokens of its labels, and how long rows become."""

    name: str
    label_ids: Mapping[str, Sequence[int]]
    maximum: int | None
    num_tokens: Callable[[Example], int]
    """Tokens of the prompt, a row and the longest answer together."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A task file to look at, which may be one that cannot be used."""

    given: Mapping[str, Any]
    """Its fields as they stand in the file."""
    task: Task | None
    problem: str = ""
    """Why there is no task."""
    rows: Sequence[Example] | None = None
    """Rows to learn from; None if they are not to be looked at."""
    tested: Sequence[Example] = ()
    """Rows for the verdict."""
    model: ModelView | None = None

    @property
    def prompt(self) -> str:
        """The text of the prompt, with partials in their places as far as they could be put there."""
        return str(self.given.get("prompt") or "") if self.task is None else self.task.prompt

    @property
    def said(self) -> str:
        """The words of the prompt, on the lines that they have in it, with spaces for what is filled in."""
        return _PLACE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), self.prompt)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the task's inputs."""
        data = self.given.get("data")
        inputs = data.get("inputs") if isinstance(data, Mapping) else None
        return tuple(map(str, inputs)) if isinstance(inputs, Mapping) else ()

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels with their words; none if the task has no such labels."""
        if self.task is None or self.task.type != "classification":
            return {}
        return self.task.labels or {}

    @property
    def names(self) -> tuple[str, ...]:
        """The variables in the prompt, even of one that cannot be used."""
        if self.task is not None:
            return self.task.template.variables
        found = re.findall(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}", self.prompt)
        return tuple(dict.fromkeys(found))

    def line_of(self, start: int) -> str:
        """Return where the character at `start` of the prompt stands, in words."""
        return f"prompt line {self.prompt.count(chr(10), 0, start) + 1}"


Found = Iterable[tuple[str, str]]
"""Where something is, and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Specimen:
    """A task to show what a rule does: the fields that differ from those of `BASE`, rows, and a model."""

    fields: Mapping[str, Any]
    rows: Sequence[Example] | None = None
    tested: Sequence[Example] = ()
    model: ModelView | None = None

    def subject(self) -> Subject:
        """Return what a rule looks at."""
        given = {name: value for name, value in {**BASE, **self.fields}.items() if value is not None}
        return subject_of(given, rows=self.rows, tested=self.tested, model=self.model)


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing to look for."""

    name: str
    severity: Severity
    finds: str
    """In a few words, for the documentation."""
    check: Callable[[Subject], Found] = field(repr=False)
    fires: Specimen = field(repr=False)
    passes: Specimen = field(repr=False)
    needs_task: bool = True
    """Whether there is nothing to look at where the task cannot be used."""

    def findings(self, subject: Subject) -> list[Finding]:
        """Return what the rule finds in `subject`."""
        if self.needs_task and subject.task is None:
            return []
        return [Finding(self.name, self.severity, place, message) for place, message in self.check(subject)]


def subject_of(given: Mapping[str, Any], **looks: Any) -> Subject:
    """Return what rules look at, for the fields `given` of a task; `looks` are those of `Subject`."""
    try:
        return Subject(given, Task.model_validate(dict(given)), **looks)
    except (TaskError, ValueError) as error:
        return Subject(given, None, problem=" ".join(str(error).split()), **looks)


BASE: dict[str, Any] = {
    "name": "tickets",
    "type": "classification",
    "data": {"train": "rows.jsonl", "inputs": {"message": "message"}, "target": "queue"},
    "prompt": "Sort into billing or returns. Answer with the queue's name only.\n\nMessage: {{message}}",
    "labels": {"billing": "billing", "returns": "returns"},
    "metric": "accuracy",
}
"""A task in which no rule finds anything."""
