from collections.abc import Callable
from typing import Any

import pytest
from jinja2 import StrictUndefined

from tuningfork.tasks.jinja import operations
from tuningfork.tasks.jinja.budget import Budget, Refused
from tuningfork.tasks.jinja.operations import (
    as_text,
    calculate,
    check_simple,
    compare,
    is_defined,
    items_of,
    kind_of,
    negate,
    number_range,
    part_of,
)


@pytest.mark.parametrize(
    ("name", "left", "right", "result"),
    [
        ("add", 1, 2.5, 3.5),
        ("add", "a", "b", "ab"),
        ("add", [1], [2], [1, 2]),
        ("sub", 1, 2, -1),
        ("mul", "ab", 3, "ababab"),
        ("mul", "ab", -1, ""),
        ("div", 1, 2, 0.5),
        ("floordiv", 7, 2, 3),
        ("mod", -7, 3, 2),
        ("pow", 2, 10, 1024),
        ("pow", 2, -1, 0.5),
        ("pow", 1, 10**18, 1),
        ("pow", -1, 10**18, 1),
        ("pow", 2, 62, 2**62),
    ],
)
def test_values_taken_together(name: str, left: object, right: object, result: object) -> None:
    assert calculate(Budget(), name, left, right) == result


@pytest.mark.parametrize(
    ("name", "left", "right", "problem"),
    [
        ("add", "a", 1, "cannot add a text and a number"),
        ("mul", [1], 2, "cannot mul a list and a number"),
        ("mul", "a", 10**9, "characters"),
        ("pow", 3, 100, "64 bits"),
        ("mul", 2**62, 3, "64 bits"),
        ("mod", "%d", 1, "formats a text"),
        ("div", 1, 0, "cannot count"),
        ("add", None, 1, "cannot add none and a number"),
        ("sub", {}, True, "cannot sub a mapping and true or false"),
    ],
)
def test_what_cannot_be_taken_together(name: str, left: object, right: object, problem: str) -> None:
    with pytest.raises(Refused, match=problem):
        calculate(Budget(), name, left, right)


@pytest.mark.parametrize(
    ("name", "left", "right", "result"),
    [
        ("eq", 1, True, True),
        ("eq", "1", 1, False),
        ("ne", None, "", True),
        ("lt", "a", "b", True),
        ("gteq", 2, 2, True),
        ("gt", 1, 2, False),
        ("lteq", 3, 2, False),
        ("in", "b", "abc", True),
        ("notin", "b", "abc", False),
        ("in", 2, [1, 2], True),
        ("in", "2", [1, 2], False),
        ("in", "k", {"k": 1}, True),
        ("in", [1], {"k": 1}, False),
    ],
)
def test_relations(name: str, left: object, right: object, result: bool) -> None:
    assert compare(Budget(), name, left, right) is result


@pytest.mark.parametrize(
    ("name", "left", "right", "problem"),
    [
        ("eq", [1], [1], "compares a list"),
        ("eq", 1, {}, "compares a mapping"),
        ("lt", 1, "a", "which is more, a number or a text"),
        ("in", 1, "abc", "looks for a number in a text"),
        ("in", 1, 2, "looks for something in a number"),
        ("in", 1, [[1]], "compares a list"),
    ],
)
def test_what_has_no_relation(name: str, left: object, right: object, problem: str) -> None:
    with pytest.raises(Refused, match=problem):
        compare(Budget(), name, left, right)


def test_texts_of_values_are_those_of_python() -> None:
    values: list[object] = ["a", None, True, 1, 2.5, [1, "a", None], (1,), {"k": [1]}]
    assert [as_text(Budget(), value) for value in values] == [str(value) for value in values]
    with pytest.raises(Refused, match="prints a macro, which is no text"):
        as_text(Budget(), object())
    assert kind_of(object()) == "a macro"


def test_parts_are_what_lists_and_mappings_hold_and_never_attributes() -> None:
    assert part_of(Budget(), {"a": 1}, "a") == 1
    assert part_of(Budget(), [1, 2], -1) == 2
    assert part_of(Budget(), "abc", 1) == "b"
    assert part_of(Budget(), "abcdef", slice(1, None, 2)) == "bdf"
    assert part_of(Budget(), [1, 2, 3], slice(None, 2)) == [1, 2]
    for value, key in [
        ("a", "upper"),
        ({}, "keys"),
        ([1], "append"),
        ([1], 5),
        (1, "real"),
        ({}, "__class__"),
    ]:
        missing = part_of(Budget(), value, key)
        assert isinstance(missing, StrictUndefined)
        assert not is_defined(missing)
    for value, key in [({}, slice(1)), ("a", slice("x")), ("a", slice(None, None, 0))]:
        with pytest.raises(Refused, match="stretch"):
            part_of(Budget(), value, key)


def test_a_stretch_is_paid_for() -> None:
    with pytest.raises(Refused, match="characters"):
        part_of(Budget(), "a" * 2_000_000, slice(0, 1_500_000))
    with pytest.raises(Refused, match="steps"):
        part_of(Budget(), [1] * 20_000, slice(0, 15_000))


def test_loops_go_through_what_has_parts() -> None:
    assert items_of(Budget(), "ab") == ["a", "b"]
    assert items_of(Budget(), {"k": 1}) == ["k"]
    with pytest.raises(Refused, match="loops over a number"):
        items_of(Budget(), 5)
    with pytest.raises(Refused, match="steps"):
        items_of(Budget(), "a" * 10_001)


@pytest.mark.parametrize("bounds", [(3,), (1, 4), (5, 0, -2), (0,), (4, 1), (0, 10, 3), (-3, 3, 2)])
def test_ranges_are_those_of_python(bounds: tuple[int, ...]) -> None:
    assert number_range(Budget(), *bounds) == list(range(*bounds))


@pytest.mark.parametrize(
    ("do", "problem"),
    [
        (lambda: number_range(Budget(), 10_001), "steps"),
        (lambda: number_range(Budget(), 0, 10, 0), "a step of 0"),
        (lambda: number_range(Budget()), "one to three"),
        (lambda: number_range(Budget(), "a"), "one to three"),
        (lambda: negate("neg", "a"), "expected a number"),
        (lambda: check_simple([1]), "compares a list"),
    ],
)
def test_what_is_no_number(do: Callable[[], Any], problem: str) -> None:
    with pytest.raises(Refused, match=problem):
        do()


def test_signs() -> None:
    assert (negate("neg", 2), negate("pos", -2.5)) == (-2, -2.5)


def test_a_power_that_would_be_too_long_is_never_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(left: int, right: int) -> int:
        raise AssertionError("was computed")

    monkeypatch.setitem(operations._ARITHMETIC, "pow", fails)
    for left in (3, -3, 2, 10**18):
        with pytest.raises(Refused, match="64 bits"):
            calculate(Budget(), "pow", left, 10**12)
