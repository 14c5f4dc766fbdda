"""Whether rows, choices and the prompts that they follow belong together."""

from collections.abc import Sequence

from tuningfork.errors import ContextLengthError, PromptError
from tuningfork.models.prefix import PrefixState
from tuningfork.types import TokenIds

Prefixes = PrefixState | Sequence[PrefixState]
"""One prompt for all rows, or one for each."""


def list_of(prefix: Prefixes) -> list[PrefixState]:
    """The prompts as a list: one, or one for each row."""
    return [prefix] if isinstance(prefix, PrefixState) else list(prefix)


def check_positions(rows: Sequence[TokenIds], at: Sequence[Sequence[int]]) -> None:
    """Check that each of `rows` has the positions that `at` names for it.

    Raises:
        ValueError: if one has not.
    """
    for row, positions in zip(rows, at, strict=True):
        if any(not 0 <= position < len(row) for position in positions):
            raise ValueError(f"a row of {len(row)} tokens has no position {list(positions)}")


def check_rows(rows: Sequence[TokenIds], prefixes: list[PrefixState]) -> int:
    """Check `rows` and the places in them, and return the tokens of the longest with its prompt.

    Raises:
        ValueError: if a row is empty.
        PromptError: if a row has a place for a virtual token that its prompt does not have.
    """
    lengths = [len(row) for row in rows]
    if 0 in lengths:
        raise ValueError(f"every row needs at least one token, found none in row {lengths.index(0)}")
    longest = 0
    for row, state in zip(rows, prefixes if len(prefixes) > 1 else prefixes * len(rows), strict=False):
        if (lowest := min(row)) < -state.num_places:
            raise PromptError(
                f"a row has a place for virtual token {-lowest}, the prompt fills {state.num_places}"
            )
        longest = max(longest, len(row) + state.num_tokens)
    return longest


def check_length(longest: int, what: str, maximum: int | None) -> None:
    """Check that `longest` tokens, which are `what`, are at most the model's `maximum`.

    Raises:
        ContextLengthError: if they are more.
    """
    if maximum is not None and longest > maximum:
        raise ContextLengthError(f"{what} = {longest} tokens; the model's maximum is {maximum}")


def check_choices(prefixes: Sequence[PrefixState], choices: Sequence[TokenIds]) -> bool:
    """Check `choices` and the heads of `prefixes`, and return whether any choice is run behind a row.

    Raises:
        ValueError: if there is no choice, or one has no tokens.
        PromptError: if a prompt has a head for another number of choices.
    """
    if not choices or not all(choices):
        raise ValueError(f"every choice needs at least one token, found {[list(c) for c in choices]}")
    for count in (state.head.num_labels for state in prefixes if state.head is not None):
        if count != len(choices):
            raise PromptError(
                f"the prompt's head tells {count} labels apart, found {len(choices)} choices; "
                "use it with the labels it was tuned for"
            )
    return any(state.head is None for state in prefixes)


def check_says_words(prefixes: Sequence[PrefixState]) -> None:
    """Check that none of the prompts has a head.

    Raises:
        PromptError: if one has.
    """
    if any(state.head is not None for state in prefixes):
        raise PromptError(
            "the prompt's head tells labels apart and says no words; score its labels, or tune a prompt "
            "without a head to learn or generate text"
        )
