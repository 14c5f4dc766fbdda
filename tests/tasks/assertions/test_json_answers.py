import json
import socket
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.tasks.assertions.checking import outcome, status
from tuningfork.errors import TaskError
from tuningfork.tasks.assertions import json_answers, patterns

ORDER = {
    "type": "object",
    "properties": {
        "items": {"type": "array", "items": {"type": "object", "properties": {"n": {"minimum": 1}}}},
        "time": {"type": "string", "pattern": "^[0-9]{2}:[0-9]{2}$"},
    },
    "required": ["items"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1}', "passed"),
        (" [1, null] ", "passed"),
        ("3", "passed"),
        ("", "failed"),
        ("NaN", "failed"),
        ("{'a': 1}", "failed"),
        ('```json\n{"a": 1}\n```', "failed"),
        ("[" * 100_000, "failed"),
        ("9" * 5000, "failed"),
    ],
)
def test_is_json(text: str, expected: str) -> None:
    assert status({"is_json": True}, text) == expected


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"items": [{"n": 1}], "time": "08:15"}, None),
        ({"items": [{"n": 1}, {"n": 0}]}, "$.items[1].n: 0 is less than the minimum of 1"),
        ({"items": [], "time": "8:15"}, "$.time: '8:15' does not match '^[0-9]{2}:[0-9]{2}$'"),
        ({}, "$: 'items' is a required property"),
        ({"items": [], "x": 1, "y": 2}, "$: unexpected properties: 'x', 'y'"),
        ([], "$: [] is not of type 'object'"),
    ],
)
def test_the_first_error_is_told_with_its_path(value: Any, reason: str | None) -> None:
    found = outcome({"json_schema": ORDER}, json.dumps(value))
    assert found.status == ("failed" if reason else "passed")
    assert found.reason == (reason or "follows the JSON Schema")


def test_what_is_not_json_follows_no_schema() -> None:
    assert outcome({"json_schema": {}}, "tea").reason.startswith("is not JSON (Expecting value")
    assert status({"not_json_schema": {}}, "tea") == "passed"


def test_additional_properties_may_have_a_schema_and_patterns_name_properties() -> None:
    schema = {
        "patternProperties": {"^n_": {"type": "integer"}},
        "properties": {"name": {}},
        "additionalProperties": {"type": "string"},
    }
    assert status({"json_schema": schema}, '{"n_a": 1, "name": 3, "other": "x"}') == "passed"
    assert outcome({"json_schema": schema}, '{"n_a": "1"}').reason == "$.n_a: '1' is not of type 'integer'"
    assert outcome({"json_schema": schema}, '{"other": 1}').reason == "$.other: 1 is not of type 'string'"
    closed = {**schema, "additionalProperties": False}
    assert outcome({"json_schema": closed}, '{"other": 1}').reason == "$: unexpected properties: 'other'"
    assert status({"json_schema": {**schema, "additionalProperties": True}}, '{"other": 1}') == "passed"


@pytest.mark.parametrize("place", ["pattern", "patternProperties", "additionalProperties"])
def test_patterns_of_a_schema_have_a_time_limit(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = patterns.search
    monkeypatch.setattr(json_answers, "search", lambda *given: quick(*given, seconds=0.05))
    long = "a" * 5000 + "!"
    schema: dict[str, Any] = {"pattern": "(a+)+$"}
    if place != "pattern":
        schema = {"patternProperties": {"(a+)+$": {}}}
        schema |= {"additionalProperties": False} if place == "additionalProperties" else {}
    found = outcome({"json_schema": schema}, json.dumps(long if place == "pattern" else {long: 1}))
    assert found.status == "failed"
    assert found.reason == "a pattern of the JSON Schema took too long on this answer"


def test_a_schema_names_no_address_that_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def refuse(*given: object, **_options: object) -> NoReturn:
        asked.append(given)
        raise OSError("there is no network")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    found = outcome({"json_schema": {"$ref": "http://127.0.0.1:9/schema.json"}}, "{}")
    assert found.status == "failed"
    assert "cannot be applied" in found.reason
    assert asked == []
    local = {"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer"}}}
    assert status({"json_schema": local}, "3") == "passed"


def test_a_schema_that_never_ends_is_told() -> None:
    found = outcome({"json_schema": {"$ref": "#"}}, "{}")
    assert found.status == "failed"
    assert "cannot be applied: RecursionError" in found.reason


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("object", "json_schema: expected a JSON Schema or file: NAME, found 'object'"),
        ({"type": "objekt"}, r"not a JSON Schema: \$.type"),
        ({"pattern": "("}, r"json_schema: not a JSON Schema: \$.pattern"),
        ({"patternProperties": {"(": {}}}, "not a "),
        (
            {"patternProperties": {"a": {}}, "unevaluatedProperties": False},
            "patternProperties beside unevaluatedProperties are not supported",
        ),
    ],
)
def test_wrong_schemas_are_refused(schema: Any, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        outcome({"json_schema": schema}, "{}")


def test_a_schema_may_lie_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "order.json").write_text(json.dumps(ORDER), encoding="utf-8")
    declared = {"json_schema": {"file": "order.json"}}
    assert status(declared, "{}", folder=tmp_path) == "failed"
    assert status(declared, '{"items": []}', folder=tmp_path) == "passed"
    (tmp_path / "order.json").write_text("{", encoding="utf-8")
    with pytest.raises(TaskError, match=r"file: order\.json cannot be used: Expecting property name"):
        status(declared, "{}", folder=tmp_path)
