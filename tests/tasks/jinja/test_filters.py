from typing import Any

import pytest
from jinja2 import StrictUndefined, UndefinedError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tuningfork.tasks.jinja.budget import Budget, Refused
from tuningfork.tasks.jinja.filters import FILTERS, TESTS, apply_filter, apply_test

JINJA = ImmutableSandboxedEnvironment(undefined=StrictUndefined)
ROWS = [{"n": "b", "k": 2}, {"n": "a", "k": 1}, {"n": "B", "k": 0}]

# What to filter, and how; the result is that of Jinja2's own filter.
AS_IN_JINJA = [
    ("-2", "abs"),
    ("'aBC d'", "capitalize"),
    ("[1, 2]", "count"),
    ("'' ", "d('x', true)"),
    ("'' ", "default('x')"),
    ("[3, 1]", "first"),
    ("{'a': 1}", "first"),
    ("'1.5'", "float"),
    ("'x'", "float(2.5)"),
    ("'a\nb\n\nc'", "indent(2)"),
    ("'a\nb'", "indent(2, true, true)"),
    ("'42.9'", "int"),
    ("'x'", "int(7)"),
    ("{'a': 1}", "items"),
    ("[1, 'a', none]", "join(', ')"),
    ("rows", "join('-', attribute='n')"),
    ("'ab'", "join('-')"),
    ("[3, 1]", "last"),
    ("'abc'", "length"),
    ("'ab'", "list"),
    ("'aB'", "lower"),
    ("5", "lower"),
    ("['a', 'b']", "map('upper')"),
    ("rows", "map(attribute='k')"),
    ("['b', 'A', 'c']", "max"),
    ("[2, 1]", "min"),
    ("rows", "rejectattr('k')"),
    ("rows", "selectattr('k')"),
    ("rows", "selectattr('k', 'gt', 0)"),
    ("rows", "selectattr('z', 'defined')"),
    ("'abab'", "replace('a', 'xy', 1)"),
    ("'abc'", "reverse"),
    ("[1, 2]", "reverse"),
    ("2.567", "round(1)"),
    ("2.5", "round(0, 'floor')"),
    ("7", "round"),
    ("['b', 'A', 'c']", "sort"),
    ("['b', 'A', 'c']", "sort(true, true)"),
    ("rows", "sort(attribute='n')"),
    ("[1]", "string"),
    ("[1, 2.5]", "sum"),
    ("rows", "sum('k', 10)"),
    ("'the tea-house (old)'", "title"),
    ("'  a '", "trim"),
    ("'xax'", "trim('x')"),
    ("'some longer words here'", "truncate(12)"),
    ("'some longer words here'", "truncate(12, true, '!', 0)"),
    ("'short'", "truncate(3)"),
    ("['a', 'A', 'b', 'a']", "unique"),
    ("['a', 'A', 'b', 'a']", "unique(true)"),
    ("'aß'", "upper"),
    ("'one two-three'", "wordcount"),
]


class Called(Exception):
    """Carries what a filter was called with."""


def arguments_of(call: str) -> tuple[str, list[Any], dict[str, Any]]:
    """The name and the arguments in `call`, read by Jinja2."""
    environment = ImmutableSandboxedEnvironment()

    def collect(*arguments: Any, **named: Any) -> None:
        raise Called(arguments, named)

    name, bracket, rest = call.partition("(")
    environment.globals["collect"] = collect
    try:
        environment.from_string("{{ collect(" + (rest if bracket else ")") + " }}").render()
    except Called as called:
        arguments, named = called.args
        return name, list(arguments), named
    raise AssertionError("nothing was called")


@pytest.mark.parametrize(("value", "call"), AS_IN_JINJA)
def test_a_filter_gives_what_that_of_jinja_does(value: str, call: str) -> None:
    given = JINJA.compile_expression(value)(rows=ROWS)
    wanted = JINJA.compile_expression(f"{value}|{call}")(rows=ROWS)
    name, arguments, named = arguments_of(call)
    found = apply_filter(Budget(), name, given, arguments, named)
    if not isinstance(wanted, str | int | float | list):
        assert wanted is not None
        wanted = list(wanted)
    assert found == wanted
    assert type(found) is type(wanted)


def test_every_filter_is_compared() -> None:
    assert {call.partition("(")[0] for _, call in AS_IN_JINJA} | {"tojson"} == set(FILTERS)


def test_json_is_written_for_a_model_and_not_for_a_web_page() -> None:
    assert apply_filter(Budget(), "tojson", {"a": "<é & 'b'>"}, [], {}) == '{"a": "<é & \'b\'>"}'
    assert apply_filter(Budget(), "tojson", [1], [2], {}) == "[\n  1\n]"


def test_a_text_that_is_no_number_or_too_long_to_be_one_counts_as_the_default() -> None:
    assert apply_filter(Budget(), "int", "1e999", [], {}) == 0
    assert apply_filter(Budget(), "float", "9" * 101, [2.5], {}) == 2.5


def test_what_is_not_there_has_a_default_and_nothing_else() -> None:
    missing = StrictUndefined(name="x")
    assert apply_filter(Budget(), "default", missing, ["y"], {}) == "y"
    assert not apply_test(Budget(), "defined", missing, [])
    assert apply_test(Budget(), "undefined", missing, [])
    with pytest.raises(UndefinedError, match="'x' is undefined"):
        apply_filter(Budget(), "upper", missing, [], {})
    with pytest.raises(UndefinedError, match="'x' is undefined"):
        apply_test(Budget(), "none", missing, [])


@pytest.mark.parametrize(
    ("value", "name", "arguments", "named", "problem"),
    [
        ("a", "upper", [1], {}, "what it does not take"),
        ("a", "upper", [], {"budget": 1}, "what it does not take"),
        ("a", "indent", [101], {}, "width is 0 to 100"),
        ("a", "indent", [-1], {}, "width is 0 to 100"),
        ([1], "tojson", [9], {}, "indent is 0 to 8"),
        (1.5, "round", [16], {}, "precision is 0 to 15"),
        ("abc" * 99, "truncate", [2], {}, "at least 3"),
        ([], "first", [], {}, "first of nothing"),
        ([], "last", [], {}, "last of nothing"),
        ([], "max", [], {}, "least or most of nothing"),
        ([[1]], "sort", [], {}, "compares a list"),
        ([1, "a"], "sort", [], {}, "what it does not take"),
        ([[1]], "unique", [], {}, "compares a list"),
        (["a"], "sum", [], {}, "expected a number"),
        ([1], "map", [], {}, "the name of a filter"),
        ([1], "map", ["nothing"], {}, "which is no filter"),
        ([1], "selectattr", ["x", "nothing"], {}, "has no test"),
        ("a", "items", [], {}, "items of a text"),
        (1, "length", [], {}, "how long a number is"),
        ("9" * 50, "int", [], {}, "64 bits"),
        ("a" * 600_000, "trim", ["bc"], {}, "characters"),
        (["a" * 1000] * 900, "sort", [], {}, "characters"),
        (["a"] * 2000, "join", ["b" * 1000], {}, "characters"),
        ("a\n" * 12000, "indent", [100], {}, "characters"),
    ],
)
def test_what_is_refused(
    value: object, name: str, arguments: list[Any], named: dict[str, Any], problem: str
) -> None:
    with pytest.raises(Refused, match=problem):
        apply_filter(Budget(), name, value, arguments, named)


IN_BOTH = ["boolean", "defined", "even", "false", "float", "integer", "mapping", "none", "number", "odd",
           "sequence", "string", "true", "undefined"]  # fmt: skip


@pytest.mark.parametrize("name", IN_BOTH)
@pytest.mark.parametrize("value", [True, False, None, 0, 3, 2.5, "a", "", [1], {"k": 1}])
def test_a_test_says_what_that_of_jinja_does(name: str, value: object) -> None:
    if name in ("even", "odd") and not isinstance(value, int | float):
        with pytest.raises(Refused, match="expected a number"):
            apply_test(Budget(), name, value, [])
        return
    wanted = JINJA.compile_expression(f"value is {name}")(value=value)
    assert apply_test(Budget(), name, value, []) == wanted


@pytest.mark.parametrize(
    ("name", "value", "other", "wanted"),
    [
        ("divisibleby", 6, 3, True),
        ("divisibleby", 7, 3, False),
        ("eq", "a", "a", True),
        ("equalto", "a", "b", False),
        ("gt", 2, 1, True),
        ("in", "a", ["a"], True),
        ("lt", 2, 1, False),
        ("ne", 1, 2, True),
    ],
)
def test_tests_with_an_argument(name: str, value: object, other: object, wanted: bool) -> None:
    assert apply_test(Budget(), name, value, [other]) is wanted
    with pytest.raises(Refused, match="what it does not take"):
        apply_test(Budget(), name, value, [])


def test_every_test_is_compared() -> None:
    assert {*IN_BOTH, "divisibleby", "eq", "equalto", "gt", "in", "lt", "ne"} == set(TESTS)
