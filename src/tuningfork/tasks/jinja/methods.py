"""The methods of texts and mappings that templates may call."""

from collections.abc import Callable
from typing import Any

from tuningfork.tasks.jinja.budget import Budget, Refused
from tuningfork.tasks.jinja.operations import kind_of

Method = Callable[..., object]


def call_method(budget: Budget, value: object, name: str, arguments: list[Any]) -> object:
    """Return what the method `name` of `value` gives for `arguments`.

    Raises:
        Refused: `value` has none, it takes other arguments, or its result is too large.
    """
    table = _OF_TEXTS if isinstance(value, str) else _OF_MAPPINGS if isinstance(value, dict) else {}
    if name not in table:
        raise Refused(f"calls {name}() of {kind_of(value)}, which has no such method")
    if isinstance(value, str):
        budget.characters(len(value))
    else:
        budget.step(len(value) if isinstance(value, dict) else 1)
    try:
        return table[name](budget, value, *arguments)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise Refused(f"calls {name}() with what it does not take: {error}") from None


def replaced(budget: Budget, text: str, old: str, new: str, count: int | None = None) -> str:
    """Return `text` with `new` for `old`, at most `count` times.

    Raises:
        Refused: The result is too long.
    """
    if not isinstance(old, str) or not isinstance(new, str):
        raise TypeError("expected two texts")
    budget.search(text, old)
    times = text.count(old)
    if count is not None:
        times = min(times, count) if count >= 0 else times
    budget.characters(len(text) + times * len(new))
    return text.replace(old, new, -1 if count is None else count)


def _split(budget: Budget, text: str, separator: str | None = None, most: int = -1) -> list[str]:
    budget.search(text, separator or " ")
    return text.split(separator, most)


def _of_text(method: Callable[..., Any]) -> Method:
    """A method that gives nothing longer than a few times its text, and whose arguments are texts."""

    def call(budget: Budget, text: str, *arguments: str) -> object:
        for argument in arguments:
            if not isinstance(argument, str):
                raise TypeError(f"expected a text, found {argument!r:.40}")
            budget.characters(len(argument))
        return method(text, *arguments)

    return call


def _strip(method: Callable[..., str]) -> Method:
    def call(budget: Budget, text: str, letters: str | None = None) -> str:
        if letters is None:
            return method(text)
        # Each letter of the text may be compared with each of these.
        budget.characters(len(text) * len(letters))
        return method(text, letters)

    return call


_OF_TEXTS: dict[str, Method] = {
    "capitalize": _of_text(str.capitalize),
    "endswith": _of_text(str.endswith),
    "lower": _of_text(str.lower),
    "lstrip": _strip(str.lstrip),
    "replace": replaced,
    "rstrip": _strip(str.rstrip),
    "split": _split,
    "splitlines": _of_text(str.splitlines),
    "startswith": _of_text(str.startswith),
    "strip": _strip(str.strip),
    "title": _of_text(str.title),
    "upper": _of_text(str.upper),
}
_OF_MAPPINGS: dict[str, Method] = {
    "get": lambda budget, value, key, default=None: value.get(key, default),
    "items": lambda budget, value: list(value.items()),
    "keys": lambda budget, value: list(value),
    "values": lambda budget, value: list(value.values()),
}
METHODS = frozenset([*_OF_TEXTS, *_OF_MAPPINGS, "cycle"])
"""All there are; `cycle` is that of `loop`."""
