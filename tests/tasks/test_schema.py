import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.tasks.schema import Schema, describe_fields, infer_schema

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=10,
)
TYPES: dict[str, type | tuple[type, ...]] = {
    "null": type(None),
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "string": str,
    "array": list,
    "object": dict,
}


def follows(value: object, schema: Schema) -> bool:
    """Judge by the few keywords that drafts use."""
    names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(
        isinstance(value, TYPES[name]) and (name == "boolean") == isinstance(value, bool) for name in names
    ):
        return False
    if isinstance(value, dict):
        properties = schema["properties"]
        return all(name in value for name in schema["required"]) and all(
            name in properties and follows(inner, properties[name]) for name, inner in value.items()
        )
    return not isinstance(value, list) or all(follows(item, schema["items"]) for item in value)


@given(st.lists(JSON_VALUES, min_size=1, max_size=5))
def test_all_values_follow_the_schema_drafted_from_them(values: list[object]) -> None:
    schema = infer_schema(values)
    assert all(follows(value, schema) for value in values)


def test_a_schema_names_types_and_what_is_always_there() -> None:
    schema = infer_schema(
        [{"name": "Ann", "age": 3, "tags": ["x"]}, {"name": "Bo", "age": 2.5, "tags": []}, {"name": None}]
    )
    assert schema == {
        "type": "object",
        "properties": {
            "name": {"type": ["string", "null"]},
            "age": {"type": "number"},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["name"],
        "additionalProperties": False,
    }
    assert not follows({"age": 1}, schema)
    assert not follows({"name": "Ann", "other": 1}, schema)


def test_fields_in_words() -> None:
    schema = infer_schema(
        [
            {"who": {"name": "Ann", "age": 3}, "tags": ["x"], "paid": True, "empty": []},
            {"who": {"name": "Bo"}, "tags": [1], "paid": None, "items": [{"sku": "a"}]},
        ]
    )
    assert list(describe_fields(schema)) == [
        "who.name (text)",
        "who.age (whole number, may be missing)",
        "tags (list of text or whole number)",
        "paid (true or false or null)",
        "empty (list, may be missing)",
        "items (list of objects with sku (text), may be missing)",
    ]


def test_what_is_not_json_is_refused() -> None:
    with pytest.raises(TypeError, match="expected a value of JSON, found set"):
        infer_schema([{1}])
