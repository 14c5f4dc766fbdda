"""Test files of promptfoo as suites: what they assert in our words; what cannot be said so is refused.

The format is that of https://www.promptfoo.dev/docs/configuration/reference/. Prompts and providers in it are
left aside: what is checked is named on the command line.
"""

from collections.abc import Callable, Mapping
from typing import Any

from tuningfork.errors import SuiteError
from tuningfork.tasks.suggestions import did_you_mean
from tuningfork.tasks.suite_cases import Place

_SETTINGS = (
    "$schema",
    "description",
    "prompts",
    "providers",
    "tests",
    "defaultTest",
    "outputPath",
    "sharing",
)
_TEST = ("description", "vars", "assert", "threshold", "metadata")
_DEFAULT_TEST = ("vars", "assert", "threshold", "metadata")
_ASSERT = ("type", "value", "threshold", "weight", "metric")
_NEGATED = "not-"

_Said = Callable[[Any, Any], dict[str, Any]]
_KINDS: dict[str, _Said] = {
    "contains": lambda value, _: {"contains": value},
    "contains-all": lambda value, _: {"contains": value},
    "contains-any": lambda value, _: {"contains": value, "match": "any"},
    "cost": lambda _, threshold: {"cost": threshold},
    "equals": lambda value, _: {"equals": value},
    "icontains": lambda value, _: {"contains": value, "ignore_case": True},
    "icontains-all": lambda value, _: {"contains": value, "ignore_case": True},
    "icontains-any": lambda value, _: {"contains": value, "match": "any", "ignore_case": True},
    "is-json": lambda value, _: {"is_json": True} if value is None else {"json_schema": value},
    "latency": lambda _, threshold: {"latency": threshold / 1000},
    "regex": lambda value, _: {"regex": value},
    "starts-with": lambda value, _: {"starts_with": value},
}
_WITH_THRESHOLD = ("cost", "latency")


def is_promptfoo(content: Any) -> bool:
    """Return whether `content` is a configuration of promptfoo rather than a suite of ours."""
    return isinstance(content, Mapping) and "tests" in content and "cases" not in content


def cases_of(content: Mapping[str, Any], place: Place) -> list[dict[str, Any]]:
    """Return the tests of `content` as cases of a suite.

    Raises:
        SuiteError: It has a field, an assertion or a value that cannot be taken over; the message names it.
    """
    _check(content, _SETTINGS, place(), "a promptfoo file")
    tests = content["tests"]
    if not isinstance(tests, list):
        raise SuiteError(f"{place('tests')}: tests: expected a list in this file, found {tests!r:.60}")
    default = content.get("defaultTest") or {}
    _check(default, _DEFAULT_TEST, place("defaultTest"), "defaultTest")
    cases = []
    names = [test.get("description") for test in tests if isinstance(test, Mapping)]
    for index, test in enumerate(tests):
        where = place("tests", index)
        _check(test, _TEST, where, f"test {index + 1}")
        case: dict[str, Any] = {
            "inputs": _inputs({**_mapping(default, "vars", where), **_mapping(test, "vars", where)}, where),
            "assertions": [
                _assertion(one, where) for each in (default, test) for one in _list(each, "assert", where)
            ],
        }
        name = test.get("description")
        if isinstance(name, str) and names.count(name) == 1:
            case["id"] = name
        threshold = test.get("threshold", default.get("threshold"))
        if threshold is not None:
            case["threshold"] = threshold
        cases.append(case)
    return cases


def _check(given: Any, known: tuple[str, ...], where: str, name: str) -> None:
    if not isinstance(given, Mapping):
        raise SuiteError(f"{where}: {name}: expected fields such as {known[1]}, found {given!r:.60}")
    for field in given:
        if field not in known:
            raise SuiteError(f"{where}: {name}: {str(field)!r:.60} of promptfoo is not supported here")


def _mapping(given: Mapping[str, Any], field: str, where: str) -> Mapping[str, Any]:
    value = given.get(field) or {}
    if not isinstance(value, Mapping):
        raise SuiteError(f"{where}: {field}: expected names with values, found {value!r:.60}")
    return value


def _list(given: Mapping[str, Any], field: str, where: str) -> list[Any]:
    value = given.get(field) or []
    if not isinstance(value, list):
        raise SuiteError(f"{where}: {field}: expected a list, found {value!r:.60}")
    return value


def _inputs(variables: Mapping[str, Any], where: str) -> dict[str, str]:
    inputs = {}
    for name, value in variables.items():
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise SuiteError(f"{where}: vars.{name}: expected a text or a number, found {value!r:.60}")
        inputs[str(name)] = str(value)
        _check_text(value, f"{where}: vars.{name}")
    return inputs


def _check_text(value: Any, where: str) -> None:
    """Check that promptfoo would take `value` as it stands, and not fill it in or read a file."""
    for text in value if isinstance(value, list) else [value]:
        if isinstance(text, str) and (text.startswith("file://") or "{{" in text or "{%" in text):
            raise SuiteError(
                f"{where}: files and templates as values are not supported here, found {text!r:.60}"
            )


def _assertion(declared: Any, where: str) -> dict[str, Any]:
    _check(declared, _ASSERT, where, "assert")
    kind = declared.get("type")
    bare = str(kind).removeprefix(_NEGATED)
    if bare not in _KINDS:
        hint = did_you_mean(bare, _KINDS)
        raise SuiteError(f"{where}: assert: the type {kind!r:.60} of promptfoo is not supported here: {hint}")
    value, threshold = declared.get("value"), declared.get("threshold")
    _check_text(value, f"{where}: assert {kind}")
    if bare in _WITH_THRESHOLD and (isinstance(threshold, bool) or not isinstance(threshold, int | float)):
        raise SuiteError(f"{where}: assert {kind}: threshold: expected a number, found {threshold!r:.60}")
    if bare not in _WITH_THRESHOLD and threshold is not None:
        raise SuiteError(f"{where}: assert {kind}: a threshold of this type is not supported here")
    (name, said), *options = _KINDS[bare](value, threshold).items()
    negated = {f"not_{name}" if bare != kind else name: said}
    weight = {} if "weight" not in declared else {"weight": declared["weight"]}
    return {**negated, **dict(options), **weight}
