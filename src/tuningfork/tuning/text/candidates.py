"""Text prompts under search, and how they become task files."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from tuningfork.data.example import Example
from tuningfork.errors import PromptError
from tuningfork.tasks.segments import (
    Answer,
    Demonstrations,
    Literal,
    Segment,
    SoftTokens,
    TurnStart,
    Variable,
)
from tuningfork.tasks.task import Task
from tuningfork.tasks.template import PromptTemplate

_CUE = "\nAnswer:"
_ENDS_OF_SENTENCES = (".", ":", "?", "!")
_SPEAKERS = {"system": "System", "user": "User", "assistant": "Assistant"}


@dataclass(frozen=True, slots=True)
class TextCandidate:
    """A text prompt: an instruction, and training rows that are shown with their answers, in this order."""

    instruction: str
    demonstrations: tuple[int, ...] = ()
    """Numbers of training rows."""


class PromptWriter:
    """Writes candidates as prompts of one task.

    The hand-written prompt is taken apart into an instruction and the frame that each row stands in. The
    frame begins behind the last empty line (or else the last line break) before the first variable. On one
    line it begins with the variable if a sentence or a colon ends there; otherwise all of the prompt is the
    frame, and instructions stand on top of it. Demonstrations stand between the two, each in the same frame
    with its answer behind it. A frame that ends in a variable gets a cue for the answer as soon as
    demonstrations have one. Places for virtual tokens are left out.

    Raises:
        PromptError: Words are tagged, which words do not ask for, or the prompt is written in more than plain
            words and variables.
    """

    def __init__(self, task: Task, rows: Sequence[Example]) -> None:
        """Write prompts of `task` that may show `rows`."""
        if task.has_tags:
            raise PromptError(
                f"task {task.name}: words are tagged by a trained head, which no prompt of words replaces; "
                "use tuningfork tune"
            )
        if extra := _beyond_words(task):
            raise PromptError(
                f"task {task.name}: its prompt has {extra}, which a search of words cannot rewrite; write it "
                "in words and {{variables}} alone"
            )
        self._task = task
        self._rows = rows
        words = [s for s in task.template.words().segments if not isinstance(s, SoftTokens)]
        self._instruction, self._gap, self._frame = _divided(words)
        self._asks_last = not self._frame or not isinstance(self._frame[-1], Variable)
        self._has_gap = any(isinstance(segment, Answer) for segment in self._frame)

    @property
    def base(self) -> TextCandidate:
        """The prompt as it was written by hand."""
        return TextCandidate(self._instruction)

    def template(self, candidate: TextCandidate) -> PromptTemplate:
        """The prompt that says `candidate`."""
        instruction = candidate.instruction.strip()
        blocks = [self._shown(self._rows[row]) for row in candidate.demonstrations]
        texts = [instruction, *blocks] if instruction else blocks
        frame = list(self._frame)
        if not frame:
            return PromptTemplate.from_segments([Literal("\n\n".join(texts))])
        if blocks and not self._asks_last and not self._has_gap:
            frame.append(Literal(_CUE))
        gap = self._gap if not blocks and self._instruction else "\n\n"
        lead = "\n\n".join(texts) + gap if texts else ""
        return PromptTemplate.from_segments([Literal(lead), *frame])

    def task(self, candidate: TextCandidate) -> Task:
        """The task with `candidate` as its prompt; that of the hand-written prompt is the task as it is."""
        if candidate == self.base:
            return self._task
        return self._task.model_copy(update={"prompt": self.template(candidate).text.strip()})

    def key(self, candidate: TextCandidate) -> str:
        """SHA-256 of the prompt, equal for candidates that say the same."""
        return hashlib.sha256(self.task(candidate).prompt.encode()).hexdigest()

    def shown(self, row: int) -> str:
        """Training row `row` with its answer, as a demonstration says it."""
        return self._shown(self._rows[row])

    def _shown(self, example: Example) -> str:
        answer = self._answer(example)
        if not self._frame:
            turns = [f"{_SPEAKERS[message.role]}: {message.content}" for message in example.messages]
            return "\n".join([*turns, f"{_SPEAKERS['assistant']}: {answer}"])
        text = ""
        for segment in self._frame:
            match segment:
                case Literal(literal):
                    text += literal
                case Variable(name):
                    text += example.inputs[name]
                case Answer():
                    text += answer
        text = text.strip()
        if self._has_gap:
            return text
        return f"{text} {answer}" if self._asks_last else f"{text}{_CUE} {answer}"

    def _answer(self, example: Example) -> str:
        target = example.targets[0]
        return target if self._task.labels is None else self._task.labels[target]


def _beyond_words(task: Task) -> str:
    """What the prompt of `task` has besides words and places to fill; empty if nothing."""
    if task.template_language != "simple":
        return f"{task.template_language} expressions"
    kinds = {type(segment) for segment in task.template.segments}
    if TurnStart in kinds:
        return "turns of its own"
    if Demonstrations in kinds or task.demonstrations:
        return "demonstrations of its own"
    return ""


def _divided(segments: Sequence[Segment]) -> tuple[str, str, tuple[Segment, ...]]:
    """The instruction, the white space behind it, and the frame of a row."""
    first = segments[0] if segments else Literal("")
    if not isinstance(first, Literal):
        return "", "", tuple(segments)
    if len(segments) == 1:
        return first.text.strip(), "", ()
    text, rest = first.text, segments[1:]
    for border in ("\n\n", "\n"):
        at = text.rfind(border)
        if at >= 0:
            return _split(text, at + len(border), rest)
    if text.rstrip().endswith(_ENDS_OF_SENTENCES):
        return _split(text, len(text), rest)
    return "", "", tuple(segments)


def _split(text: str, at: int, rest: Sequence[Segment]) -> tuple[str, str, tuple[Segment, ...]]:
    instruction = text[:at].rstrip()
    lead = text[at:]
    return instruction, text[len(instruction) : at], (*([Literal(lead)] if lead else []), *rest)
