"""Scenario suites: cases with what must hold of the answer to each."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tuningfork.data.example import Example, Message
from tuningfork.data.word_tags import read_words
from tuningfork.errors import DataError, SuiteError
from tuningfork.tasks.assertions.assertion import Assertion
from tuningfork.tasks.suggestions import did_you_mean
from tuningfork.tasks.task import Task


@dataclass(frozen=True, slots=True)
class Case:
    """One input with what must hold of its answer."""

    id: str
    place: str
    """Where it was read, as `file:line`."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    messages: tuple[Message, ...] = ()
    """A conversation in place of inputs."""
    expected: tuple[str, ...] = ()
    """Right answers; any of them will do."""
    assertions: tuple[Assertion, ...] = ()
    threshold: float = 1.0
    """The weighted share of assertions from which an answer passes."""
    tags: tuple[str, ...] = ()
    is_critical: bool = False
    """Whether the suite fails when this case does, whatever the share of cases that pass."""

    def example(self, task: Task) -> Example:
        """The case as a row of `task`.

        Raises:
            SuiteError: It lacks a variable of the task, has one that the task does not, or is a conversation
                where the task has inputs, or the other way round.
        """
        where = f"{self.place}: case {self.id}"
        if task.is_conversation:
            if not self.messages:
                raise SuiteError(
                    f"{where}: task {task.name} takes conversations; expected messages, found inputs"
                )
            return Example(messages=self.messages, targets=self.expected, source=where)
        if self.messages:
            raise SuiteError(f"{where}: task {task.name} takes inputs, not messages")
        variables = task.template.variables
        template = task.template
        if missing := [n for n in variables if n not in self.inputs and not template.is_optional(n)]:
            found = ", ".join(self.inputs) or "none"
            raise SuiteError(
                f"{where}: no value for {', '.join(missing)}, which the prompt of task {task.name} reads; "
                f"found {found}"
            )
        for name in self.inputs:
            if name not in variables:
                raise SuiteError(
                    f"{where}: unknown input {name!r} for task {task.name}: {did_you_mean(name, variables)}"
                )
        inputs = dict(self.inputs)
        if task.has_tags:
            try:
                inputs = {name: read_words(text, where) for name, text in inputs.items()}
            except DataError as error:
                raise SuiteError(" ".join(str(error).split())) from error
        return Example(inputs=inputs, targets=self.expected, source=where)


@dataclass(frozen=True, slots=True)
class Price:
    """Money for a million tokens read, and for a million said."""

    input: float
    output: float
    currency: str = ""

    def of(self, num_input_tokens: int, num_output_tokens: int) -> float:
        """What a call with so many tokens costs."""
        return (num_input_tokens * self.input + num_output_tokens * self.output) / 1_000_000


@dataclass(frozen=True, slots=True)
class Suite:
    """Cases, and how they are run."""

    name: str
    path: Path
    cases: tuple[Case, ...]
    description: str = ""
    task: Path | None = None
    """Task file whose assertions hold for all cases, and whose text prompt is run if no prompt is named."""
    prompts: tuple[Path, ...] = ()
    """Run folders and task files to check if none is named."""
    repeats: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    fail_under: float = 1.0
    """The share of answers that must pass."""
    price: Price | None = None
    uses_task_assertions: bool = True
    """Whether the assertions of a task hold for the cases too."""

    def only(self, names: Sequence[str]) -> tuple[Case, ...]:
        """The cases whose id or one of whose tags is among `names`; all if there are none.

        Raises:
            SuiteError: No case has one of the names.
        """
        if not names:
            return self.cases
        known = dict.fromkeys([*(tag for case in self.cases for tag in case.tags), *self._ids])
        for name in names:
            if name not in known:
                raise SuiteError(f"{self.path}: no case or tag {name!r}: {did_you_mean(name, known)}")
        return tuple(case for case in self.cases if {case.id, *case.tags} & set(names))

    @property
    def _ids(self) -> list[str]:
        return [case.id for case in self.cases]


def split_tags(text: str) -> tuple[str, ...]:
    """The tags in `text`, between commas or semicolons."""
    return tuple(tag for tag in (part.strip() for part in re.split("[,;]", text)) if tag)
