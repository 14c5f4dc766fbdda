from typing import Any

import pytest

from tuningfork.tasks.jinja.budget import Budget, Refused
from tuningfork.tasks.jinja.methods import METHODS, call_method, replaced


@pytest.mark.parametrize(
    ("value", "name", "arguments", "result"),
    [
        ("aB c", "capitalize", [], "Ab c"),
        ("ab", "endswith", ["b"], True),
        ("aB", "lower", [], "ab"),
        ("  a", "lstrip", [], "a"),
        ("xxa", "lstrip", ["x"], "a"),
        ("aba", "replace", ["a", "xy"], "xybxy"),
        ("aaa", "replace", ["a", "b", 2], "bba"),
        ("a  ", "rstrip", [], "a"),
        ("a,b,c", "split", [",", 1], ["a", "b,c"]),
        (" a  b ", "split", [], ["a", "b"]),
        ("a\nb", "splitlines", [], ["a", "b"]),
        ("ab", "startswith", ["b"], False),
        (" a ", "strip", [], "a"),
        ("a bc", "title", [], "A Bc"),
        ("a", "upper", [], "A"),
        ({"a": 1}, "get", ["a"], 1),
        ({"a": 1}, "get", ["b", 2], 2),
        ({"a": 1}, "items", [], [("a", 1)]),
        ({"a": 1}, "keys", [], ["a"]),
        ({"a": 1}, "values", [], [1]),
    ],
)
def test_methods_are_those_of_python(value: Any, name: str, arguments: list[Any], result: object) -> None:
    assert name in METHODS
    assert call_method(Budget(), value, name, arguments) == result
    python = getattr(value, name)(*arguments)
    assert result == (python if isinstance(python, str | bool | int | list) else list(python))


@pytest.mark.parametrize(
    ("value", "name", "arguments", "problem"),
    [
        ("a", "items", [], r"items\(\) of a text, which has no such method"),
        ([1], "append", [2], r"append\(\) of a list"),
        ("a", "upper", [1], "what it does not take"),
        ("a", "replace", ["a"], "what it does not take"),
        ("a", "replace", [1, 2], "what it does not take"),
        ("a", "split", [""], "what it does not take"),
        ("a", "split", [" ", 2**80], "what it does not take"),
        ("a", "startswith", [3], "what it does not take"),
        ("a" * 600, "replace", ["a", "b" * 5000], "characters"),
        ("a" * 5000, "strip", ["b" * 5000], "characters"),
        ("a" * 2_000_000, "upper", [], "characters"),
    ],
)
def test_what_is_refused(value: object, name: str, arguments: list[Any], problem: str) -> None:
    with pytest.raises(Refused, match=problem):
        call_method(Budget(), value, name, arguments)


def test_an_empty_text_is_replaced_between_all_letters() -> None:
    assert replaced(Budget(), "ab", "", "-") == "-a-b-"
    with pytest.raises(Refused, match="characters"):
        replaced(Budget(), "a" * 2000, "", "x" * 1000)
