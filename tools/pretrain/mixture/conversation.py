"""What a family makes: a conversation, or a document without turns."""

from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant", "document"]


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn; `document` is plain text outside the chat template."""

    role: Role
    text: str
    answers: tuple[tuple[int, int], ...] = ()
    """Where answers stand in the text of another role, as (start, end); an assistant's turn is one itself."""
    is_guess: bool = False
    """Whether nobody could know this answer yet; it is learned as weakly as context."""


Conversation = tuple[Turn, ...]


def user(text: str, answers: tuple[tuple[int, int], ...] = ()) -> Turn:
    """Return a turn of the user."""
    return Turn("user", text.strip(), answers)


def assistant(text: str, *, is_guess: bool = False) -> Turn:
    """Return a turn of the assistant."""
    return Turn("assistant", text.strip(), is_guess=is_guess)


def system(text: str) -> Turn:
    """Return a system turn."""
    return Turn("system", text.strip())


def is_sound(conversation: Conversation) -> bool:
    """Return whether no turn is empty and something is answered."""
    return (
        bool(conversation)
        and all(turn.text.strip() for turn in conversation)
        and any(turn.role in ("assistant", "document") for turn in conversation)
    )
