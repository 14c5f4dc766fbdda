"""Prompt templates read: from text to segments, in either language."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal as OneOf
from typing import cast

from tuningfork.data.example import Role
from tuningfork.errors import TaskError
from tuningfork.tasks.segments import (
    ANSWER,
    DEMONSTRATIONS,
    TARGET,
    Answer,
    Computed,
    Demonstrations,
    Literal,
    Segment,
    SoftTokens,
    TurnStart,
    Variable,
)

TemplateLanguage = OneOf["simple", "jinja2"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SOFT = re.compile(r"soft\s*:\s*([0-9]{1,9})", re.ASCII)
_TURN = re.compile(r"role\s*:\s*(\S*)")
_BLOCK = re.compile(r"([#/])\s*(\S*)")
_PARTIAL = re.compile(r">\s*(\S*)")
_ROLES: dict[str, Role] = {"system": "system", "user": "user", "assistant": "assistant"}
_MOST_VIRTUAL_TOKENS = 1000
_ESCAPED_OR_OPENING = re.compile(r"(?P<backslashes>\\+)(?=\{\{)|(?P<opening>\{\{)(?!\{)")
_MOST_PLACES = 200
# What a template in Jinja2 has: a comment, raw text, a tag; and inside of a tag, a text or its end.
_JINJA_OPENING = re.compile(r"\{#|\{%[-+]?\s*raw\s*[-+]?%\}|\{\{|\{%")
_JINJA_MARKER = re.compile(r"\{\{\s*((?:soft|role)\s*:[^{}\n]{0,40}|[#/>][^{}\n]{0,80})\}\}")
_JINJA_TEXT_OR_END = re.compile(r"[\"']|\}\}|%\}")
_JINJA_TEXT = re.compile(r"""\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'""", re.DOTALL)
_JINJA_END_OF_RAW = re.compile(r"\{%[-+]?\s*endraw\s*[-+]?%\}")


@dataclass(frozen=True, slots=True)
class _Open:
    """Where the block of demonstrations begins."""


@dataclass(frozen=True, slots=True)
class _Close:
    """Where it ends."""


@dataclass(frozen=True, slots=True)
class _Partial:
    """Where a piece from elsewhere belongs."""

    name: str


_Token = Segment | _Open | _Close | _Partial


def read_template(
    text: str, variables: Collection[str] = (), language: TemplateLanguage = "simple"
) -> tuple[Segment, ...]:
    """Return the segments of `text`; what is among `variables` is one, even if it is called like a marker.

    Raises:
        TaskError: It cannot be read; the message says where.
    """
    tokens = list(_jinja_tokens(text, variables) if language == "jinja2" else _tokens(text, variables))
    segments = _nested(_without_space_between_turns(_joined(tokens)))
    _check_demonstrations(segments)
    _check_turns(segments)
    return segments


def check_piece(text: str, language: TemplateLanguage) -> None:
    """Check that `text`, a piece of a template, can be read by itself.

    Raises:
        TaskError: It cannot.
    """
    for _ in _jinja_tokens(text, ()) if language == "jinja2" else _tokens(text, ()):
        pass


def partial_places(text: str, language: TemplateLanguage) -> Iterator[tuple[int, int, str]]:
    """Yield where pieces from elsewhere belong in `text`: where the place begins and ends, and the name."""
    markers = _jinja_markers(text) if language == "jinja2" else _simple_markers(text)
    for start, end, token in markers:
        if isinstance(token, _Partial):
            yield start, end, token.name


def variables_in(segments: Iterable[_Token]) -> tuple[str, ...]:
    """Return the names of the variables that rows fill, each once, in order of first use."""
    names: dict[str, None] = {}
    for segment in segments:
        if isinstance(segment, Variable):
            names[segment.name] = None
        elif isinstance(segment, Computed):
            names |= dict.fromkeys(segment.reads)
    return tuple(names)


def num_shared(segments: Sequence[Segment]) -> int:
    """Return how many of `segments` stand before the first one that says something else for another row."""
    for index, segment in enumerate(segments):
        is_silent = isinstance(segment, Computed) and segment.is_silent
        if isinstance(segment, Variable | Answer | Computed) and not is_silent:
            return index
    return len(segments)


def join_literals(segments: Iterable[Segment]) -> tuple[Segment, ...]:
    """Return `segments` with neighbouring literals joined, and without empty ones."""
    return tuple(cast(list[Segment], _joined(segments)))


def _joined(segments: Iterable[_Token]) -> list[_Token]:
    joined: list[_Token] = []
    for segment in segments:
        if isinstance(segment, Literal):
            if not segment.text:
                continue
            if joined and isinstance(joined[-1], Literal):
                joined[-1] = Literal(joined[-1].text + segment.text)
                continue
        joined.append(segment)
    return joined


def _tokens(text: str, variables: Collection[str]) -> Iterator[_Token]:
    position = 0
    while match := _ESCAPED_OR_OPENING.search(text, position):
        yield Literal(text[position : match.start()])
        if match["opening"]:
            token, position = _read_place(text, match.end(), variables)
            yield token
            if isinstance(token, _Open | _Close):
                position += text.startswith("\n", position)
            continue
        count = len(match["backslashes"])
        yield Literal("\\" * (count // 2))
        position = match.end()
        if count % 2:
            yield Literal("{{")
            position += 2
    yield Literal(text[position:])


def _simple_markers(text: str) -> Iterator[tuple[int, int, _Token]]:
    """Where places stand in `text`, as far as they are closed."""
    position = 0
    while match := _ESCAPED_OR_OPENING.search(text, position):
        end = text.find("}}", match.end()) + 2
        if match["opening"] and end >= 2:
            token = _read_marker(text[match.end() : end - 2].strip(), text, match.start())
            if token is not None:
                yield match.start(), end, token
        position = match.end() + 2 * (len(match["backslashes"] or "") % 2)


def _read_place(text: str, start: int, variables: Collection[str]) -> tuple[_Token, int]:
    end = text.find("}}", start)
    if end < 0:
        raise TaskError(
            f"{_place(text, start - 2)}: '{{{{' is never closed; write '{{{{name}}}}' for a variable "
            r"or '\{{' for literal braces"
        )
    name = text[start:end].strip()
    if (marker := _read_marker(name, text, start - 2)) is not None:
        return marker, end + 2
    if not _NAME.fullmatch(name):
        shown = name if len(name) <= 40 else name[:37] + "..."
        raise TaskError(
            f"{_place(text, start - 2)}: {shown!r} is not a variable name; names are letters, digits and "
            r"underscores and do not start with a digit; places for virtual tokens are {{soft:8}}. "
            r"For literal braces write '\{{'"
        )
    return (Answer() if name == ANSWER and name not in variables else Variable(name)), end + 2


def _read_marker(name: str, text: str, start: int) -> _Token | None:
    """Return what the marker `name`, at `start` in `text`, stands for, or None if it is none."""
    if soft := _SOFT.fullmatch(name):
        count = int(soft[1])
        if not 1 <= count <= _MOST_VIRTUAL_TOKENS:
            raise TaskError(
                f"{_place(text, start)}: {name!r} must be for 1 to {_MOST_VIRTUAL_TOKENS} virtual tokens"
            )
        return SoftTokens(count)
    if turn := _TURN.fullmatch(name):
        if turn[1] not in _ROLES:
            raise TaskError(
                f"{_place(text, start)}: {turn[1]!r:.40} is no role; expected {', '.join(_ROLES)}"
            )
        return TurnStart(_ROLES[turn[1]])
    if block := _BLOCK.fullmatch(name):
        if block[2] != DEMONSTRATIONS:
            raise TaskError(
                f"{_place(text, start)}: {name!r:.40} is no block; the one there is begins with "
                f"{{{{#{DEMONSTRATIONS}}}}} and ends with {{{{/{DEMONSTRATIONS}}}}}"
            )
        return _Open() if block[1] == "#" else _Close()
    if partial := _PARTIAL.fullmatch(name):
        return _Partial(partial[1])
    return None


def _place(text: str, offset: int) -> str:
    line = text.count("\n", 0, offset) + 1
    column = offset - (text.rfind("\n", 0, offset) + 1) + 1
    return f"prompt line {line}, column {column}"


def _jinja_tokens(text: str, variables: Collection[str]) -> Iterator[_Token]:
    """The tokens of a template in Jinja2: our markers, and between them what Jinja2 reads."""
    from tuningfork.tasks.jinja.budget import Refused
    from tuningfork.tasks.jinja.reading import MOST_SOURCE_CHARACTERS, Named, Reader, Text

    if len(text) > MOST_SOURCE_CHARACTERS:
        raise TaskError(f"prompt: the template has more than {MOST_SOURCE_CHARACTERS:,} characters")
    reader = Reader()
    position, line = 0, 1
    try:
        for start, end, marker in [*_jinja_markers(text), (len(text), len(text), None)]:
            for part in reader.read(text[position:start], first_line=line):
                if isinstance(part, Text):
                    yield Literal(part.text)
                elif isinstance(part, Named):
                    is_place = part.name == ANSWER and ANSWER not in variables
                    yield Answer() if is_place else Variable(part.name)
                else:
                    yield Computed(part.reads, part.is_silent, part)
            line += text.count("\n", position, end)
            position = end
            if marker is not None:
                yield marker
    except Refused as error:
        raise TaskError(f"prompt line {error.line}: the template {error}") from None


def _jinja_markers(text: str) -> Iterator[tuple[int, int, _Token]]:
    """Where our markers stand in a template in Jinja2, and what they are."""
    position, count = 0, 0
    while opening := _JINJA_OPENING.search(text, position):
        found = _JINJA_MARKER.match(text, opening.start())
        token = found and _read_marker(found[1].strip(), text, opening.start())
        if found is None or token is None:
            position = _end_of_tag(text, opening)
            continue
        count += 1
        if count > _MOST_PLACES:
            raise TaskError(f"{_place(text, found.start())}: more than {_MOST_PLACES} places")
        position = found.end()
        position += isinstance(token, _Open | _Close) and text.startswith("\n", position)
        yield found.start(), position, token


def _end_of_tag(text: str, opening: re.Match[str]) -> int:
    """Where what begins with `opening` ends; the end of `text` if it never does."""
    position = opening.end()
    if opening[0] == "{#":
        end = text.find("#}", position)
        return len(text) if end < 0 else end + 2
    if "raw" in opening[0]:
        raw = _JINJA_END_OF_RAW.search(text, position)
        return raw.end() if raw else len(text)
    while found := _JINJA_TEXT_OR_END.search(text, position):
        if found[0] in ("}}", "%}"):
            return found.end()
        said = _JINJA_TEXT.match(text, found.start())
        if said is None:
            break
        position = said.end()
    return len(text)


def _without_space_between_turns(tokens: Sequence[_Token]) -> list[_Token]:
    """Return `tokens` without white space before and behind the start of a turn."""
    kept = list(tokens)
    for index, token in enumerate(tokens):
        if isinstance(token, TurnStart):
            _strip(kept, range(index - 1, -1, -1), is_before=True)
            _strip(kept, range(index + 1, len(kept)), is_before=False)
    return [token for token in kept if token != Literal("")]


def _strip(tokens: list[_Token], places: Iterable[int], *, is_before: bool) -> None:
    for place in places:
        token = tokens[place]
        if isinstance(token, Literal):
            tokens[place] = Literal(token.text.rstrip() if is_before else token.text.lstrip())
            if tokens[place] != Literal(""):
                return
        elif not isinstance(token, _Open | _Close):
            return


def _nested(tokens: Sequence[_Token]) -> tuple[Segment, ...]:
    """Return `tokens` with what stands in a block inside of it."""
    outside: list[Segment] = []
    block: list[Segment] | None = None
    for token in tokens:
        if isinstance(token, _Open):
            if block is not None or any(isinstance(segment, Demonstrations) for segment in outside):
                raise TaskError(f"prompt: {{{{#{DEMONSTRATIONS}}}}} stands more than once; expected one")
            block = []
        elif isinstance(token, _Close):
            if block is None:
                raise TaskError(
                    f"prompt: {{{{/{DEMONSTRATIONS}}}}} ends what has no {{{{#{DEMONSTRATIONS}}}}}"
                )
            outside.append(Demonstrations(tuple(block)))
            block = None
        elif isinstance(token, _Partial):
            raise TaskError(f"prompt: there is no partial {token.name!r:.40}; define it below partials:")
        else:
            (outside if block is None else block).append(token)
    if block is not None:
        raise TaskError(
            f"prompt: {{{{#{DEMONSTRATIONS}}}}} is never closed; end it with {{{{/{DEMONSTRATIONS}}}}}"
        )
    return tuple(outside)


def _check_demonstrations(segments: Sequence[Segment]) -> None:
    place = next((i for i, segment in enumerate(segments) if isinstance(segment, Demonstrations)), None)
    if place is None:
        return
    block = segments[place]
    assert isinstance(block, Demonstrations)
    inside, name = block.segments, f"{{{{#{DEMONSTRATIONS}}}}}"
    if TARGET not in variables_in(inside):
        raise TaskError(f"prompt: {name} shows no answers; write {{{{{TARGET}}}}} where they stand")
    if any(isinstance(segment, SoftTokens | Answer) for segment in inside):
        raise TaskError(f"prompt: {name} is repeated, so no virtual tokens and no {{{{answer}}}} stand in it")
    if num_shared(segments) < place:
        raise TaskError(f"prompt: {name} must stand before the first variable; every row shares it")
    if segments[place + 1 : place + 2] and num_shared(segments) == place + 1:
        raise TaskError(f"prompt: a variable directly behind {{{{/{DEMONSTRATIONS}}}}}; put words between")
    roles = [segment.role for segment in inside if isinstance(segment, TurnStart)]
    if roles and (roles[0] != "user" or roles[-1] != "assistant" or not isinstance(inside[0], TurnStart)):
        raise TaskError(f"prompt: turns in {name} begin with {{{{role:user}}}} and end with the assistant's")
    if roles and not any(isinstance(segment, TurnStart) for segment in segments[place + 1 : place + 2]):
        raise TaskError(f"prompt: behind the turns of {name} a turn begins; write {{{{role:user}}}} there")


def _check_turns(segments: Sequence[Segment]) -> None:
    places = [index for index, segment in enumerate(segments) if isinstance(segment, TurnStart)]
    shown = [s for s in segments if isinstance(s, Demonstrations)]
    if not places:
        if any(isinstance(segment, TurnStart) for block in shown for segment in block.segments):
            raise TaskError("prompt: turns in the demonstrations alone; begin the others with {{role:user}}")
        return
    before = [s for s in segments[: places[0]] if not (isinstance(s, Computed) and s.is_silent)]
    if any(not isinstance(segment, Demonstrations) for segment in before):
        raise TaskError(
            "prompt: words stand before the first turn; begin with {{role:system}} or {{role:user}}"
        )
    roles = [segment.role for segment in segments if isinstance(segment, TurnStart)]
    if "system" in roles[1:]:
        raise TaskError("prompt: {{role:system}} stands once, at the beginning")
    if roles[-1] != "user" or "user" not in roles[:2] or roles[:1] == ["assistant"]:
        raise TaskError(
            f"prompt: turns go from the user's to the user's, with a system turn before them at most, found "
            f"{', '.join(roles)}"
        )
    if num_shared(segments) < places[-1]:
        raise TaskError(
            "prompt: a variable stands before the last turn; every row shares what is there, so move it "
            "behind the last {{role:user}}"
        )
