"""What a prompt template is made of."""

from dataclasses import dataclass, field
from typing import Any

from tuningfork.data.example import Role


@dataclass(frozen=True, slots=True)
class Literal:
    """Text that stands as it is."""

    text: str


@dataclass(frozen=True, slots=True)
class Quoted:
    """Text of a row, in which nothing is read: no variable, and no control token of a model."""

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


@dataclass(frozen=True, slots=True)
class Computed:
    """What is worked out for each row from the values it `reads`; if `is_silent`, for later ones to read."""

    reads: tuple[str, ...]
    is_silent: bool
    part: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class TurnStart:
    """Where a turn begins."""

    role: Role


@dataclass(frozen=True, slots=True)
class Demonstrations:
    """What is repeated for each example that the prompt shows."""

    segments: "tuple[Segment, ...]"


Segment = Literal | Quoted | Variable | SoftTokens | Answer | Computed | TurnStart | Demonstrations

ANSWER = "answer"
"""What the marker of the answer's place is called."""
TARGET = "target"
"""What the answer of a demonstration is called."""
DEMONSTRATIONS = "demonstrations"
"""What the marker of their block is called."""
