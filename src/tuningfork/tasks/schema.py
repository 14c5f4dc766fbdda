"""JSON Schemas drafted from examples, and fields listed in words."""

from collections.abc import Iterator, Sequence
from typing import Any

Schema = dict[str, Any]

_WORDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "null": "null",
    "object": "object",
}


def infer_schema(values: Sequence[object]) -> Schema:
    """Return the narrowest plain JSON Schema that all `values` (as `json.loads` gives them) follow.

    It knows types, properties, which properties are always there, and items of lists; it sets no limits on
    lengths or ranges, and closes objects to further properties.
    """
    types = list(dict.fromkeys(_type(value) for value in values))
    if "number" in types and "integer" in types:
        types.remove("integer")
    schema: Schema = {"type": types[0] if len(types) == 1 else types}
    if objects := [value for value in values if isinstance(value, dict)]:
        names = list(dict.fromkeys(name for value in objects for name in value))
        schema["properties"] = {
            name: infer_schema([value[name] for value in objects if name in value]) for name in names
        }
        schema["required"] = [name for name in names if all(name in value for value in objects)]
        schema["additionalProperties"] = False
    if items := [item for value in values if isinstance(value, list) for item in value]:
        schema["items"] = infer_schema(items)
    return schema


def describe_fields(schema: Schema, path: str = "") -> Iterator[str]:
    """Yield each field of an object schema as "name (type)", nested ones by their path."""
    required = schema.get("required", [])
    for name, inner in schema.get("properties", {}).items():
        place = f"{path}{name}"
        if inner.get("properties"):
            yield from describe_fields(inner, f"{place}.")
        else:
            missing = "" if name in required else ", may be missing"
            yield f"{place} ({_in_words(inner)}{missing})"


def _in_words(schema: Schema) -> str:
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return " or ".join(_list_in_words(schema) if name == "array" else _WORDS[name] for name in types)


def _list_in_words(schema: Schema) -> str:
    items = schema.get("items")
    if items is None:
        return "list"
    if items.get("properties"):
        return "list of objects with " + ", ".join(describe_fields(items))
    return f"list of {_in_words(items)}"


def _type(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case dict():
            return "object"
        case _:
            raise TypeError(f"expected a value of JSON, found {type(value).__name__}")
