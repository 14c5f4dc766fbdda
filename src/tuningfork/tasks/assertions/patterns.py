"""Regular expressions that always end: each search has a time limit.

`re` of the standard library has no limit, and `(a+)+$` on forty letters would run for hours. The package
`regex` looks at the clock while it matches and gives up.
"""

import warnings
from functools import cache
from typing import Any

import regex

from tuningfork.errors import TaskError

SEARCH_SECONDS = 1.0
_LONGEST_PATTERN = 10_000


@cache
def compile_pattern(pattern: str, *, ignores_case: bool = False) -> Any:
    """Return the compiled `pattern`.

    Raises:
        TaskError: It is not a regular expression, or too long.
    """
    if len(pattern) > _LONGEST_PATTERN:
        raise TaskError(f"the pattern has {len(pattern)} characters, at most {_LONGEST_PATTERN} are allowed")
    flags = regex.IGNORECASE if ignores_case else 0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return regex.compile(pattern, flags | regex.V0)
    except (regex.error, ValueError, OverflowError, RecursionError, KeyError, IndexError) as error:
        raise TaskError(f"not a regular expression ({error}): {pattern!r:.60}") from error


def search(pattern: str, text: str, *, ignores_case: bool = False, seconds: float = SEARCH_SECONDS) -> Any:
    """Return the first match of `pattern` in `text`, or None.

    Raises:
        TimeoutError: No answer within `seconds`.
        TaskError: It is not a regular expression.
    """
    return compile_pattern(pattern, ignores_case=ignores_case).search(text, timeout=seconds)
