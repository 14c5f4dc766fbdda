"""The order of things in a model's input: which turns there are, and what is tokenised together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Protocol

from tuningfork.data.example import Example, Role
from tuningfork.errors import DataError
from tuningfork.tasks.encoding import Piece
from tuningfork.tasks.template import Answer, Literal, PromptTemplate, SoftTokens, Variable
from tuningfork.tasks.turns import TurnFormat, trailing_spaces

_EMPTY_LINE = Piece("\n\n")


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn: what all rows say there (`shared`, from the template only), then what this row says."""

    role: Role
    shared: tuple[Piece, ...] = ()
    own: tuple[Piece, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """Pieces that are tokenised as one text; an answer is one of its own, as it is when generated."""

    pieces: tuple[Piece, ...]
    is_answer: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """A model's input in two parts; `row_lead` is the spaces that the row opens with."""

    prefix: tuple[Section, ...]
    row: tuple[Section, ...]
    row_lead: str


class TurnSource(Protocol):
    """Makes the turns of a task."""

    def turns(self, example: Example) -> list[Turn]:
        """Return the turns of one example."""

    def framed(self, turns: Sequence[Turn]) -> list[Turn]:
        """Return `turns` below what stands once on top of all of them."""


class PromptTurns:
    """One user turn: the prompt with its variables filled in, and `mask` where the answer stands."""

    def __init__(self, template: PromptTemplate, mask: str = "") -> None:
        self._template = template
        self._mask = mask

    def turns(self, example: Example) -> list[Turn]:
        """Return the prompt filled with the inputs of `example`.

        Raises:
            TaskError: A variable has no value.
        """
        self._template.check_values(example.inputs)
        pieces = template_pieces(self._template, example.inputs, self._mask)
        segments = self._template.segments
        count = next(i for i, segment in enumerate(segments) if isinstance(segment, Variable | Answer))
        return [Turn("user", pieces[:count], pieces[count:])]

    def framed(self, turns: Sequence[Turn]) -> list[Turn]:
        """Return `turns`: each holds its prompt already."""
        return list(turns)


class ConversationTurns:
    """The turns of the data below one instruction, in the system turn or on top of the first user turn.

    `behind` stands behind the last words before the answer.
    """

    def __init__(
        self, instruction: PromptTemplate, *, has_system_turn: bool, behind: tuple[Piece, ...] = ()
    ) -> None:
        self._instruction = template_pieces(instruction, {})
        self._has_system_turn = has_system_turn
        self._behind = behind

    def turns(self, example: Example) -> list[Turn]:
        """Return the messages of `example`, with its system messages on top of the first user turn.

        Raises:
            DataError: There is no message, the user does not begin, or the assistant had the last word.
        """
        messages = list(example.messages)
        own: list[Piece] = []
        while messages and messages[0].role == "system":
            own += [Piece(messages.pop(0).content, is_data=True), _EMPTY_LINE]
        roles = [message.role for message in messages]
        if not roles or roles[0] != "user" or roles[-1] == "assistant":
            found = ", ".join(roles) if roles else "no turns"
            raise DataError(
                f"a conversation goes from the user's first turn to the turn before the answer, found {found}"
            )
        turns = [Turn(m.role, own=(Piece(m.content, is_data=True),)) for m in messages]
        turns[0] = replace(turns[0], own=(*own, *turns[0].own))
        return [*turns[:-1], replace(turns[-1], own=(*turns[-1].own, *self._behind))]

    def framed(self, turns: Sequence[Turn]) -> list[Turn]:
        """Return `turns` below the instruction."""
        if self._has_system_turn:
            return [Turn("system", self._instruction), *turns]
        return [replace(turns[0], shared=(*self._instruction, _EMPTY_LINE)), *turns[1:]]


def template_pieces(template: PromptTemplate, values: Mapping[str, str], mask: str = "") -> tuple[Piece, ...]:
    """Return a piece for each segment of `template`; virtual tokens are numbered in order."""
    pieces: list[Piece] = []
    count = 0
    for segment in template.segments:
        match segment:
            case Literal(text):
                pieces.append(Piece(text))
            case Variable(name):
                pieces.append(Piece(values[name], is_data=True))
            case Answer():
                pieces.append(Piece(mask))
            case SoftTokens(more):
                pieces.append(Piece("", virtual=range(count, count + more)))
                count += more
    return tuple(pieces)


def lay_out(turns: Sequence[Turn], row_start: int, turn_format: TurnFormat) -> Layout:
    """Return the layout of `turns` in which the row begins with the own words of turn `row_start`.

    Spaces at the end of the prefix move to the row: tokenizers keep a space with the word behind it.

    Raises:
        TaskError: The chat template refuses the order of the turns.
    """
    texts = turn_format.between([turn.role for turn in turns], opens_answer=True)
    prefix: list[Section] = []
    sections: list[Section] = []
    row_lead = ""
    pending = [Piece(texts[0])]
    for index, (turn, behind) in enumerate(zip(turns, texts[1:], strict=True)):
        if turn.role == "assistant":
            end = turn_format.end_of_turn if behind.startswith(turn_format.end_of_turn) else ""
            sections += [
                Section(_without_trailing_spaces(pending)),
                answer_section(turn.own, end, turn_format),
            ]
            pending = [Piece(behind.removeprefix(end))]
            continue
        pending += turn.shared
        if index == row_start:
            row_lead = _spaces_behind(pending)
            prefix = [*sections, Section(_without_trailing_spaces(pending))]
            sections, pending = [], [Piece(row_lead)]
        pending += [*turn.own, Piece(behind)]
    row = [*sections, Section(_without_trailing_spaces(pending))]
    return Layout(tuple(prefix), tuple(row), row_lead)


def answer_section(pieces: Sequence[Piece], end: str, turn_format: TurnFormat) -> Section:
    """Return the section of an answer, with the spaces that open it and the text that ends it."""
    return Section((Piece(turn_format.answer_lead), *pieces, Piece(end)), is_answer=True)


def _spaces_behind(pieces: Sequence[Piece]) -> str:
    """Return the spaces that `pieces` end with, behind the last virtual token."""
    behind = takewhile(lambda piece: not piece.virtual, reversed(pieces))
    return trailing_spaces("".join(reversed([piece.text for piece in behind])))


def _without_trailing_spaces(pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    """Return `pieces` without spaces at the end, as far as they are template text."""
    kept = list(pieces)
    while kept and not (kept[-1].is_data or kept[-1].virtual):
        text = kept.pop().text.rstrip(" \t")
        if text:
            return (*kept, Piece(text))
    return tuple(kept)
