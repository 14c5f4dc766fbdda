"""The filters and tests that templates may use: those of Jinja2 whose cost is known before they run."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from jinja2 import Undefined, filters

from tuningfork.tasks.jinja.budget import Budget, Refused, checked_number
from tuningfork.tasks.jinja.methods import replaced
from tuningfork.tasks.jinja.operations import (
    as_text,
    check_simple,
    compare,
    is_defined,
    items_of,
    kind_of,
    part_of,
)

Filter = Callable[..., Any]

_WIDEST_INDENT = 100
_DEEPEST_JSON = 8
_LONGEST_NUMBER = 100
_LEEWAY = 5


def apply_filter(
    budget: Budget, name: str, value: object, arguments: list[Any], named: dict[str, Any]
) -> Any:
    """Return what the filter `name` makes of `value`.

    Raises:
        Refused: It takes other arguments, or its result is too large.
    """
    if name != "default" and name != "d":
        _check_defined(value)
    try:
        return FILTERS[name](budget, value, *arguments, **named)
    except (TypeError, ValueError, ArithmeticError, AssertionError) as error:
        raise Refused(f"uses the filter {name!r} with what it does not take: {error}") from None


def apply_test(budget: Budget, name: str, value: object, arguments: list[Any]) -> bool:
    """Return whether `value` passes the test `name`.

    Raises:
        Refused: It takes other arguments, or cannot be answered.
    """
    if name not in ("defined", "undefined"):
        _check_defined(value)
    try:
        return bool(TESTS[name](budget, value, *arguments))
    except (TypeError, ValueError, ArithmeticError) as error:
        raise Refused(f"uses the test {name!r} with what it does not take: {error}") from None


def _check_defined(value: object) -> None:
    if isinstance(value, Undefined):
        value._fail_with_undefined_error()


def _text(function: Callable[[str], Any]) -> Filter:
    def apply(budget: Budget, value: object) -> Any:
        return function(as_text(budget, value))

    return apply


def _default(budget: Budget, value: object, default_value: object = "", boolean: bool = False) -> object:
    if not is_defined(value) or (boolean and not value):
        return default_value
    return value


def _trim(budget: Budget, value: object, chars: str | None = None) -> str:
    text = as_text(budget, value)
    budget.characters(len(text) * len(chars or ""))
    return text.strip(chars)


def _replace(budget: Budget, value: object, old: str, new: str, count: int | None = None) -> str:
    return replaced(budget, as_text(budget, value), old, new, count)


def _truncate(
    budget: Budget,
    value: object,
    length: int = 255,
    killwords: bool = False,
    end: str = "...",
    leeway: int = _LEEWAY,
) -> str:
    text = as_text(budget, value)
    if not isinstance(end, str):
        raise TypeError("end is a text")
    if length < len(end) or leeway < 0:
        raise ValueError(f"length is at least {len(end)}, and leeway at least 0")
    if len(text) <= length + leeway:
        return text
    kept = text[: length - len(end)]
    return (kept if killwords else kept.rsplit(" ", 1)[0]) + end


def _indent(budget: Budget, value: object, width: int = 4, first: bool = False, blank: bool = False) -> str:
    if not 0 <= width <= _WIDEST_INDENT:
        raise ValueError(f"width is 0 to {_WIDEST_INDENT}, found {width}")
    text = as_text(budget, value)
    budget.characters((len(text.splitlines()) + 1) * width)
    return filters.do_indent(text, int(width), bool(first), bool(blank))


def _to_json(budget: Budget, value: object, indent: int | None = None) -> str:
    if indent is not None and not 0 <= indent <= _DEEPEST_JSON:
        raise ValueError(f"indent is 0 to {_DEEPEST_JSON}, found {indent}")
    budget.whole(value)
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    budget.characters(len(text))
    return text


def _length(budget: Budget, value: object) -> int:
    if not isinstance(value, str | list | tuple | dict):
        raise Refused(f"asks how long {kind_of(value)} is")
    return len(value)


def _join(budget: Budget, value: object, d: str = "", attribute: str | None = None) -> str:
    parts = [as_text(budget, part) for part in _attributes(budget, value, attribute)]
    separator = as_text(budget, d)
    budget.characters(len(separator) * len(parts))
    return separator.join(parts)


def _attributes(budget: Budget, value: object, attribute: object) -> list[Any]:
    found = items_of(budget, value)
    if attribute is None:
        return found
    parts = [part_of(budget, item, attribute) for item in found]
    for part in parts:
        _check_defined(part)
    return parts


def _first(budget: Budget, value: object) -> object:
    if not isinstance(value, str | list | tuple | dict) or not value:
        raise Refused(f"takes the first of {'nothing' if not value else kind_of(value)}")
    return next(iter(value))


def _last(budget: Budget, value: object) -> object:
    if not isinstance(value, str | list | tuple | dict) or not value:
        raise Refused(f"takes the last of {'nothing' if not value else kind_of(value)}")
    return next(reversed(value))


def _reverse(budget: Budget, value: object) -> object:
    if isinstance(value, str):
        return as_text(budget, value)[::-1]
    return items_of(budget, value)[::-1]


def _sort(
    budget: Budget,
    value: object,
    reverse: bool = False,
    case_sensitive: bool = False,
    attribute: str | None = None,
) -> list[Any]:
    keys = _keys(budget, value, attribute, case_sensitive=case_sensitive)
    found = items_of(budget, value)
    order = sorted(range(len(found)), key=keys.__getitem__, reverse=bool(reverse))
    return [found[at] for at in order]


def _keys(budget: Budget, value: object, attribute: object, *, case_sensitive: bool) -> list[Any]:
    """What the parts of `value` are ordered by, after as many comparisons as sorting them takes are paid."""
    keys = _attributes(budget, value, attribute)
    for key in keys:
        check_simple(key)
    comparisons = max(1, len(keys).bit_length())
    budget.step(len(keys) * comparisons)
    budget.characters(sum(len(key) for key in keys if isinstance(key, str)) * comparisons)
    return [key.lower() if isinstance(key, str) and not case_sensitive else key for key in keys]


def _unique(budget: Budget, value: object, case_sensitive: bool = False) -> list[Any]:
    keys = _keys(budget, value, None, case_sensitive=case_sensitive)
    first: dict[Any, Any] = {}
    for key, item in zip(keys, items_of(budget, value), strict=True):
        first.setdefault(key, item)
    return list(first.values())


def _extreme(
    choose: Callable[[Any], Any], budget: Budget, value: object, case_sensitive: bool = False
) -> object:
    keys = _keys(budget, value, None, case_sensitive=case_sensitive)
    if not keys:
        raise Refused("takes the least or most of nothing")
    return items_of(budget, value)[keys.index(choose(keys))]


def _sum(budget: Budget, value: object, attribute: str | None = None, start: int | float = 0) -> int | float:
    total: int | float = checked_number(start)
    for number in _attributes(budget, value, attribute):
        total = checked_number(total + checked_number(number))
    return total


def _map(budget: Budget, value: object, name: str | None = None, *arguments: Any, **named: Any) -> list[Any]:
    if name is None:
        if set(named) != {"attribute"}:
            raise TypeError("expected the name of a filter, or attribute=")
        return _attributes(budget, value, named["attribute"])
    if name == "map" or name not in FILTERS:
        raise Refused(f"maps by {name!r:.40}, which is no filter for that")
    return [apply_filter(budget, name, item, list(arguments), named) for item in items_of(budget, value)]


def _select(
    keeps: bool, budget: Budget, value: object, attribute: str, test: str = "true", *arguments: Any
) -> list[Any]:
    if test not in TESTS:
        raise Refused(f"has no test {test!r:.40}")
    found = items_of(budget, value)
    parts = [part_of(budget, item, attribute) for item in found]
    if test == "true" and not arguments:
        passes = [is_defined(part) and bool(part) for part in parts]
    else:
        passes = [apply_test(budget, test, part, list(arguments)) for part in parts]
    return [item for item, does in zip(found, passes, strict=True) if does == keeps]


def _round(budget: Budget, value: object, precision: int = 0, method: str = "common") -> int | float:
    if not 0 <= precision <= 15:
        raise ValueError(f"precision is 0 to 15, found {precision}")
    number = checked_number(value)
    return checked_number(filters.do_round(number, precision, method))  # type: ignore[arg-type]


def _int(budget: Budget, value: object, default: int = 0) -> int | float:
    return checked_number(filters.do_int(_short(value), default))


def _float(budget: Budget, value: object, default: float = 0.0) -> int | float:
    return checked_number(filters.do_float(_short(value), default))


def _short(value: object) -> object:
    """`value`, or nothing for a text that is too long to be a number."""
    return "" if isinstance(value, str) and len(value) > _LONGEST_NUMBER else value


def _items(budget: Budget, value: object) -> list[Any]:
    if not isinstance(value, dict):
        raise Refused(f"takes the items of {kind_of(value)}; expected a mapping")
    budget.step(len(value))
    return list(value.items())


FILTERS: dict[str, Filter] = {
    "abs": lambda budget, value: abs(checked_number(value)),
    "capitalize": _text(str.capitalize),
    "count": _length,
    "d": _default,
    "default": _default,
    "first": _first,
    "float": _float,
    "indent": _indent,
    "int": _int,
    "items": _items,
    "join": _join,
    "last": _last,
    "length": _length,
    "list": items_of,
    "lower": _text(str.lower),
    "map": _map,
    "max": partial(_extreme, max),
    "min": partial(_extreme, min),
    "rejectattr": partial(_select, False),
    "replace": _replace,
    "reverse": _reverse,
    "round": _round,
    "selectattr": partial(_select, True),
    "sort": _sort,
    "string": as_text,
    "sum": _sum,
    "title": _text(filters.do_title),
    "tojson": _to_json,
    "trim": _trim,
    "truncate": _truncate,
    "unique": _unique,
    "upper": _text(str.upper),
    "wordcount": _text(filters.do_wordcount),
}

TESTS: dict[str, Filter] = {
    "boolean": lambda budget, value: isinstance(value, bool),
    "defined": lambda budget, value: is_defined(value),
    "divisibleby": lambda budget, value, by: checked_number(value) % checked_number(by) == 0,
    "eq": lambda budget, value, other: compare(budget, "eq", value, other),
    "equalto": lambda budget, value, other: compare(budget, "eq", value, other),
    "even": lambda budget, value: checked_number(value) % 2 == 0,
    "false": lambda budget, value: value is False,
    "float": lambda budget, value: isinstance(value, float),
    "gt": lambda budget, value, other: compare(budget, "gt", value, other),
    "in": lambda budget, value, whole: compare(budget, "in", value, whole),
    "integer": lambda budget, value: isinstance(value, int) and not isinstance(value, bool),
    "lt": lambda budget, value, other: compare(budget, "lt", value, other),
    "mapping": lambda budget, value: isinstance(value, Mapping),
    "ne": lambda budget, value, other: compare(budget, "ne", value, other),
    "none": lambda budget, value: value is None,
    "number": lambda budget, value: isinstance(value, int | float),
    "odd": lambda budget, value: checked_number(value) % 2 == 1,
    "sequence": lambda budget, value: isinstance(value, str | list | tuple | dict),
    "string": lambda budget, value: isinstance(value, str),
    "true": lambda budget, value: value is True,
    "undefined": lambda budget, value: not is_defined(value),
}
