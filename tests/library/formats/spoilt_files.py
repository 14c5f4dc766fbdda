"""Files that are spoilt, and what reading them says."""

from collections.abc import Callable, Iterable

from tuningfork.errors import FormatError


def spoilt(content: bytes, edits: Iterable[tuple[int, int]], length: int) -> bytes:
    """`content` with some of its bytes replaced, and cut to `length`."""
    changed = bytearray(content)
    for position, value in edits:
        changed[position % len(changed)] = value
    return bytes(changed[:length])


def refusal(read: Callable[[], object]) -> str:
    """Why `read` refuses, in one line; empty if it does not. Any other error is let through."""
    try:
        read()
    except FormatError as error:
        return str(error)
    return ""
