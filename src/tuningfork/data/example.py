"""One example: what goes in, what should come out, and where it was read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Example:
    """One row of the user's data after its columns were mapped.

    Either `inputs` maps template variables to text, or `messages` holds a conversation that ends before the
    turn to produce. `targets` holds the references: the first is trained on, all count in evaluation; it is
    empty for rows that are only predicted.
    """

    inputs: Mapping[str, str] = field(default_factory=dict)
    targets: tuple[str, ...] = ()
    messages: tuple[Message, ...] = ()
    source: str = ""
    """Where the row was read, as `file:line`, for error messages."""
