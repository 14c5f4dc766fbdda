import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tuningfork.errors import DataError, TaskError
from tuningfork.tasks.variables import VariableSpec, VariableType, check_specs, completed


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("string", "", ""),
        ("string", "7", "7"),
        ("integer", "-007", -7),
        ("integer", "9" * 18, 10**18 - 1),
        ("number", "1.50", 1.5),
        ("number", ".5e3", 500.0),
        ("number", "3", 3),
        ("boolean", "true", True),
        ("boolean", "false", False),
        ("json", '["a", {"b": null}]', ["a", {"b": None}]),
        ("json", "{}", {}),
    ],
)
def test_values(kind: VariableType, text: str, value: object) -> None:
    spec = VariableSpec(type=kind)
    assert spec.problem(text) is None
    found = spec.value_of(text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("spec", "text", "problem"),
    [
        ({"type": "integer"}, "1.5", "expected a whole number, found '1.5'"),
        ({"type": "integer"}, "", "expected a whole number, found ''"),
        ({"type": "integer"}, "9" * 19, "expected a whole number"),
        ({"type": "integer"}, "٣", "expected a whole number"),
        ({"type": "integer"}, " 1", "expected a whole number"),
        ({"type": "number"}, "nan", "expected a number"),
        ({"type": "number"}, "inf", "expected a number"),
        ({"type": "number"}, "1e", "expected a number"),
        ({"type": "number"}, "1" * 101, "expected a number"),
        ({"type": "boolean"}, "True", "expected true or false, found 'True'"),
        ({"type": "json"}, "5", "expected a list or an object as JSON"),
        ({"type": "json"}, "[1", "expected a list or an object as JSON"),
        ({"type": "json"}, "[" * 100_000, "expected a list or an object as JSON"),
        ({"values": ["a", "b"]}, "c", "expected one of a, b, found 'c'"),
        ({"max_length": 3}, "abcd", "has 4 characters, expected at most 3"),
        ({"type": "integer"}, "x" * 90, "found 'x+\\.\\.\\.'$"),
    ],
)
def test_what_does_not_fit(spec: dict[str, Any], text: str, problem: str) -> None:
    found = VariableSpec.model_validate(spec).problem(text)
    assert found is not None
    assert re.search(problem, found)


def test_the_short_form_names_the_type() -> None:
    assert VariableSpec.model_validate("integer") == VariableSpec(type="integer")


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"values": []}, "is empty"),
        ({"type": "integer", "default": "x"}, "default: expected a whole number"),
        ({"values": ["a"], "default": "b"}, "default: expected one of a"),
    ],
)
def test_a_description_that_contradicts_itself(spec: dict[str, Any], problem: str) -> None:
    with pytest.raises(TaskError, match=problem):
        VariableSpec.model_validate(spec)


@pytest.mark.parametrize("spec", [{"type": "float"}, {"max_length": 0}, {"maximum": 3}, 5])
def test_an_unknown_description(spec: object) -> None:
    with pytest.raises(ValidationError):
        VariableSpec.model_validate(spec)


@pytest.mark.parametrize(
    ("default", "text"), [(True, "true"), (2, "2"), (1.5, "1.5"), ("a", "a"), (None, None)]
)
def test_defaults_are_texts_as_rows_have_them(default: Any, text: str | None) -> None:
    assert VariableSpec.model_validate({"default": default}).default_text == text


def test_a_default_stands_for_what_is_missing_or_empty() -> None:
    specs = {"n": VariableSpec(type="integer", default=3), "t": VariableSpec(max_length=2)}
    assert completed(specs, {"t": "ab"}) == {"t": "ab", "n": "3"}
    assert completed(specs, {"t": "", "n": ""}) == {"t": "", "n": "3"}
    assert completed(specs, {"n": "7", "other": "x"}) == {"n": "7", "other": "x"}
    with pytest.raises(DataError, match="variable t: has 3 characters"):
        completed(specs, {"t": "abc"})
    with pytest.raises(DataError, match="variable n: expected a whole number, found 'many'"):
        completed(specs, {"n": "many"})


def test_descriptions_are_of_inputs() -> None:
    check_specs({"text": VariableSpec()}, {"text": "column"})
    with pytest.raises(TaskError, match=r"variables: txt is not in data.inputs: did you mean 'text'\?"):
        check_specs({"txt": VariableSpec()}, {"text": "column"})
    with pytest.raises(TaskError, match="a task on conversations has none"):
        check_specs({"txt": VariableSpec()}, {})


@given(st.sampled_from(["string", "integer", "number", "boolean", "json"]), st.text(max_size=30))
def test_any_text_has_a_value_or_a_problem(kind: VariableType, text: str) -> None:
    spec = VariableSpec(type=kind)
    if spec.problem(text) is None:
        spec.value_of(text)
    else:
        with pytest.raises(ValueError, match=r"^expected (a |true)"):
            spec.value_of(text)
