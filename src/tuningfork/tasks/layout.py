"""The order of things in a model's input: which turns there are, and what is tokenised together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise, takewhile
from typing import Protocol

from tuningfork.data.example import Example, Role
from tuningfork.errors import DataError
from tuningfork.tasks.encoding import Piece
from tuningfork.tasks.segments import (
    Answer,
    Computed,
    Literal,
    Quoted,
    Segment,
    SoftTokens,
    TurnStart,
    Variable,
)
from tuningfork.tasks.template import PromptTemplate
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

    def empty_turns(self) -> list[Turn]:
        """Return the turns of an example that says nothing."""

    def framed(self, turns: Sequence[Turn]) -> list[Turn]:
        """Return `turns` below what stands once on top of all of them."""


class PromptTurns:
    """The prompt with its variables filled in, and `mask` where the answer stands.

    It is one user turn, or the turns that it says. Those before the last one hold no variables: they stand
    once on top of all rows and demonstrations. Without a system turn in the format, its words open the first
    turn.
    """

    def __init__(self, template: PromptTemplate, mask: str = "", *, has_system_turn: bool = False) -> None:
        self._template = template
        self._mask = mask
        self._has_system_turn = has_system_turn
        starts = [index for index, segment in enumerate(template.segments) if isinstance(segment, TurnStart)]
        self._last_turn = starts[-1] if starts else 0
        self._on_top = self._turns_on_top(starts)

    def turns(self, example: Example) -> list[Turn]:
        """Return the last turn, filled with the inputs of `example`.

        Raises:
            TaskError: A variable has no value.
            DataError: A value is not what its variable may be, or the template cannot be worked out with it.
        """
        return [self._turn(self._template.filled(example.inputs))]

    def empty_turns(self) -> list[Turn]:
        """Return the last turn with nothing in the place of its variables."""
        return [self._turn([_empty(segment) for segment in self._template.segments])]

    def framed(self, turns: Sequence[Turn]) -> list[Turn]:
        """Return `turns` below those that stand once."""
        whole = [*self._on_top, *turns]
        if whole[0].role != "system" or self._has_system_turn:
            return whole
        system, first, *rest = whole
        return [replace(first, shared=(*system.shared, _EMPTY_LINE, *first.shared)), *rest]

    def _turn(self, filled: Sequence[Sequence[Segment]]) -> Turn:
        pieces = segment_pieces(filled, self._mask)
        count = self._template.num_shared
        return Turn("user", _joined(pieces[self._last_turn : count]), _joined(pieces[count:]))

    def _turns_on_top(self, starts: Sequence[int]) -> list[Turn]:
        pieces = segment_pieces([_empty(segment) for segment in self._template.segments], self._mask)
        turns = []
        for start, end in pairwise(starts):
            opening = self._template.segments[start]
            assert isinstance(opening, TurnStart)
            words = _joined(pieces[start:end])
            is_answer = opening.role == "assistant"
            turns.append(Turn(opening.role, () if is_answer else words, words if is_answer else ()))
        return turns


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

    def empty_turns(self) -> list[Turn]:
        """Return a turn of the user's without words."""
        return [Turn("user")]

    def framed(self, turns: Sequence[Turn]) -> list[Turn]:
        """Return `turns` below the instruction."""
        if self._has_system_turn:
            return [Turn("system", self._instruction), *turns]
        return [replace(turns[0], shared=(*self._instruction, _EMPTY_LINE)), *turns[1:]]


def template_pieces(template: PromptTemplate, values: Mapping[str, str], mask: str = "") -> tuple[Piece, ...]:
    """Return the pieces of `template` filled with `values`; virtual tokens are numbered in order.

    Raises:
        TaskError: A variable has no value.
        DataError: A value is not what its variable may be, or the template cannot be worked out with it.
    """
    return _joined(segment_pieces(template.filled(values), mask))


def segment_pieces(filled: Sequence[Sequence[Segment]], mask: str = "") -> list[tuple[Piece, ...]]:
    """Return the pieces of each of the `filled` segments of a template."""
    pieces: list[tuple[Piece, ...]] = []
    count = 0
    for segments in filled:
        own: list[Piece] = []
        for segment in segments:
            match segment:
                case Literal(text):
                    own.append(Piece(text))
                case Quoted(text):
                    own.append(Piece(text, is_data=True))
                case Answer():
                    own.append(Piece(mask))
                case SoftTokens(more):
                    own.append(Piece("", virtual=range(count, count + more)))
                    count += more
        pieces.append(tuple(own))
    return pieces


def _empty(segment: Segment) -> tuple[Segment, ...]:
    """What `segment` says where nothing is known of a row."""
    if isinstance(segment, Variable):
        return (Quoted(""),)
    return () if isinstance(segment, Computed) else (segment,)


def _joined(pieces: Sequence[tuple[Piece, ...]]) -> tuple[Piece, ...]:
    return tuple(chain.from_iterable(pieces))


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
