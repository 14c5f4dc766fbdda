"""What templates do with values: count, join, compare, take parts. Each is paid for before it is done."""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jinja2 import Undefined

from tuningfork.tasks.jinja.budget import Budget, Refused, checked_number

_BITS = 64
_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "floordiv": operator.floordiv,
    "mod": operator.mod,
    "pow": operator.pow,
}
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "gteq": operator.ge,
    "lt": operator.lt,
    "lteq": operator.le,
}


def as_text(budget: Budget, value: object) -> str:
    """Return what `value` prints as.

    Raises:
        Refused: It is too long, or has no text.
    """
    if isinstance(value, str):
        budget.characters(len(value))
        return value
    if value is None or isinstance(value, bool | int | float):
        return str(value)
    if isinstance(value, list | tuple | dict):
        budget.whole(value)
        return str(value)
    raise Refused(f"prints {kind_of(value)}, which is no text")


def kind_of(value: object) -> str:
    """Return what `value` is, for messages."""
    match value:
        case None:
            return "none"
        case str():
            return "a text"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case list() | tuple():
            return "a list"
        case dict():
            return "a mapping"
        case _:
            return "a macro"


def calculate(budget: Budget, name: str, left: object, right: object) -> object:
    """Return `left` and `right` taken together by the operator called `name`.

    Raises:
        Refused: They cannot be, or the result is too large.
    """
    if isinstance(left, int | float) and isinstance(right, int | float):
        return _count(name, left, right)
    if name == "add" and isinstance(left, str) and isinstance(right, str):
        budget.characters(len(left) + len(right))
        return left + right
    if name == "add" and isinstance(left, list) and isinstance(right, list):
        budget.step(len(left) + len(right))
        return left + right
    if name == "mul" and isinstance(left, str) and isinstance(right, int):
        budget.characters(len(left) * max(0, right))
        return left * right
    if name == "mod" and isinstance(left, str):
        raise Refused("formats a text with %; join texts with ~")
    raise Refused(f"cannot {name} {kind_of(left)} and {kind_of(right)}")


def _count(name: str, left: int | float, right: int | float) -> int | float:
    is_power = name == "pow" and isinstance(left, int) and isinstance(right, int) and abs(left) > 1
    # A power is as long as its exponent says, so that it must be judged before there is one.
    if is_power and right * int(left).bit_length() > 2 * _BITS:
        raise Refused("makes a whole number with more than 64 bits")
    try:
        return checked_number(_ARITHMETIC[name](left, right))
    except ArithmeticError as error:
        raise Refused(f"cannot count: {error}") from None


def negate(name: str, value: object) -> int | float:
    """Return the number `value` with the sign called `name` (pos or neg) before it.

    Raises:
        Refused: It is no number.
    """
    number = checked_number(value)
    return -number if name == "neg" else +number


def compare(budget: Budget, name: str, left: object, right: object) -> bool:
    """Return whether `left` and `right` are in the relation called `name`.

    Raises:
        Refused: They cannot be compared.
    """
    if name in ("in", "notin"):
        return _is_in(budget, left, right) == (name == "in")
    check_simple(left)
    check_simple(right)
    if isinstance(left, str) and isinstance(right, str):
        budget.characters(min(len(left), len(right)))
    if name in ("eq", "ne"):
        return (left == right) == (name == "eq")
    try:
        return bool(_ORDER[name](left, right))
    except TypeError:
        raise Refused(f"cannot say which is more, {kind_of(left)} or {kind_of(right)}") from None


def _is_in(budget: Budget, part: object, whole: object) -> bool:
    if isinstance(whole, str):
        if not isinstance(part, str):
            raise Refused(f"looks for {kind_of(part)} in a text")
        budget.search(whole, part)
        return part in whole
    if isinstance(whole, Mapping):
        return isinstance(part, str | int | float | None) and part in whole
    if isinstance(whole, Sequence):
        return any(_equals(budget, part, one) for one in whole)
    raise Refused(f"looks for something in {kind_of(whole)}")


def _equals(budget: Budget, left: object, right: object) -> bool:
    budget.step()
    return compare(budget, "eq", left, right)


def check_simple(value: object) -> None:
    """Check that `value` is a text, a number, true, false or none.

    Raises:
        Refused: It is not; what has parts may have very many, shared between them.
    """
    if value is not None and not isinstance(value, str | int | float):
        raise Refused(f"compares {kind_of(value)}; compare its parts, or its length")


def items_of(budget: Budget, value: object) -> list[Any]:
    """Return what a loop over `value` goes through.

    Raises:
        Refused: It is not made of parts, or has too many.
    """
    if not isinstance(value, str | list | tuple | dict):
        raise Refused(f"loops over {kind_of(value)}")
    budget.step(len(value))
    return list(value)


def number_range(budget: Budget, *bounds: object) -> list[int]:
    """Return the whole numbers that `range` gives.

    Raises:
        Refused: There are too many, or the bounds are none.
    """
    if not 1 <= len(bounds) <= 3 or not all(isinstance(bound, int) for bound in bounds):
        raise Refused("gives range something else than one to three whole numbers")
    whole = [int(checked_number(bound)) for bound in bounds]
    start, stop, step = (0, *whole, 1) if len(whole) == 1 else (*whole, 1)[:3]
    if step == 0:
        raise Refused("gives range a step of 0")
    budget.step(max(0, math.ceil((stop - start) / step)))
    return list(range(start, stop, step))


def part_of(budget: Budget, value: object, key: object) -> object:
    """Return the part of `value` at `key`, or a `StrictUndefined` where there is none.

    Only what a mapping holds and what a list or a text has at a number are parts: no attribute of a Python
    object is ever looked at.

    Raises:
        Refused: A value cannot be taken apart so.
    """
    from jinja2 import StrictUndefined

    if isinstance(key, slice):
        if not isinstance(value, str | list | tuple):
            raise Refused(f"takes a stretch of {kind_of(value)}")
        stretch = _slice(value, key)
        (budget.characters if isinstance(value, str) else budget.step)(len(stretch))
        return stretch
    try:
        if isinstance(value, Mapping) and isinstance(key, str | int | float | None):
            return value[key]
        if isinstance(value, str | list | tuple) and isinstance(key, int):
            return value[key]
    except LookupError:
        pass
    return StrictUndefined(obj=value, name=str(key))


def _slice(value: str | list[Any] | tuple[Any, ...], key: slice) -> str | list[Any] | tuple[Any, ...]:
    try:
        length = len(range(*key.indices(len(value))))
    except (TypeError, ValueError) as error:
        raise Refused(f"cannot take that stretch: {error}") from None
    return value[key] if length else value[:0]


def is_defined(value: object) -> bool:
    """Return whether `value` is one."""
    return not isinstance(value, Undefined)
