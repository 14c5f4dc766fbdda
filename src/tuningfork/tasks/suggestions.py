"""The hint at the end of an error message about an unknown name."""

from collections.abc import Iterable
from difflib import get_close_matches

LISTED_AT_MOST = 10


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint that names the closest known name, or all of them, or nothing if there are none."""
    options = list(known)
    if not options:
        return ""
    close = get_close_matches(name, options, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    listed = ", ".join(repr(option) for option in options[:LISTED_AT_MOST])
    rest = len(options) - LISTED_AT_MOST
    return f"known: {listed}" + (f" and {rest} more" if rest > 0 else "")
