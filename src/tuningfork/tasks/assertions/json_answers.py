"""Assertions on answers in JSON."""

import json
from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

from tuningfork.errors import TaskError
from tuningfork.tasks.assertions.answer import Check, CheckedAnswer, Finding, Found, Undecided, shown
from tuningfork.tasks.assertions.declaration import Declared, Kind
from tuningfork.tasks.assertions.patterns import compile_pattern, search

_LONGEST_REASON = 160


def _parse(text: str) -> Any:
    """The value that `text` says in JSON.

    Raises:
        ValueError: It is not JSON.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _read_is_json(declared: Declared) -> Check:
    declared.is_on()

    def check(answer: CheckedAnswer) -> Finding:
        try:
            _parse(answer.text)
        except ValueError as error:
            return Found(0.0, f"is not JSON ({error}): {shown(answer.text)}")
        return Found(1.0, "is JSON")

    return check


def _read_json_schema(declared: Declared) -> Check:
    schema = declared.value
    if not isinstance(schema, dict):
        raise TaskError(f"{declared.kind}: expected a JSON Schema or file: NAME, found {schema!r:.60}")
    validator = _validator(schema, declared.kind)

    def check(answer: CheckedAnswer) -> Finding:
        try:
            value = _parse(answer.text)
        except ValueError as error:
            return Found(0.0, f"is not JSON ({error}): {shown(answer.text)}")
        try:
            first = min(
                validator.iter_errors(value), key=lambda error: list(map(str, error.path)), default=None
            )
        except TimeoutError:
            return Undecided("a pattern of the JSON Schema took too long on this answer")
        except (RecursionError, Unresolvable) as problem:
            return Undecided(
                f"the JSON Schema cannot be applied: {type(problem).__name__}: {problem}"[:_LONGEST_REASON]
            )
        if first is None:
            return Found(1.0, "follows the JSON Schema")
        return Found(0.0, f"{first.json_path}: {' '.join(first.message.split())}"[:_LONGEST_REASON])

    return check


def _validator(schema: dict[str, Any], kind: str) -> Any:
    try:
        Draft202012Validator.check_schema(schema)
        _check_patterns(schema)
    except SchemaError as error:
        raise TaskError(f"{kind}: not a JSON Schema: {error.json_path}: {error.message:.100}") from error
    except TaskError as error:
        raise TaskError(f"{kind}: {error}") from error
    except RecursionError:
        raise TaskError(f"{kind}: the JSON Schema is nested too deeply") from None
    # An empty registry, so that no address named in a schema is ever fetched.
    return _BoundedValidator(schema, registry=Registry())


def _check_patterns(schema: object) -> None:
    """Check that every pattern in `schema` is one, and none stands where its time cannot be bounded."""
    if isinstance(schema, dict):
        for name, inner in schema.items():
            if name == "pattern" and isinstance(inner, str):
                compile_pattern(inner)
            if name == "patternProperties" and isinstance(inner, dict):
                for pattern in inner:
                    compile_pattern(str(pattern))
                if "unevaluatedProperties" in schema:
                    raise TaskError("patternProperties beside unevaluatedProperties are not supported")
            _check_patterns(inner)
    elif isinstance(schema, list):
        for inner in schema:
            _check_patterns(inner)


def _pattern(validator: Any, pattern: str, value: Any, schema: Any) -> Iterator[ValidationError]:
    if validator.is_type(value, "string") and search(pattern, value) is None:
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    if validator.is_type(value, "object"):
        for pattern, inner in patterns.items():
            for name, item in value.items():
                if search(pattern, name) is not None:
                    yield from validator.descend(item, inner, path=name, schema_path=pattern)


def _additional_properties(
    validator: Any, allowed: Any, value: Any, schema: Any
) -> Iterator[ValidationError]:
    if not validator.is_type(value, "object"):
        return
    patterns = schema.get("patternProperties", {})
    extra = [
        name
        for name in value
        if name not in schema.get("properties", {})
        and not any(search(pattern, name) is not None for pattern in patterns)
    ]
    if validator.is_type(allowed, "object"):
        for name in extra:
            yield from validator.descend(value[name], allowed, path=name)
    elif not allowed and extra:
        yield ValidationError(f"unexpected properties: {', '.join(map(repr, extra))}")


_BoundedValidator: Any = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
    },
)

JSON_KINDS = (Kind("is_json", _read_is_json), Kind("json_schema", _read_json_schema, parse_file=_parse))
