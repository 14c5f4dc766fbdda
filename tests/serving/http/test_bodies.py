import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from tuningfork.serving.http.bodies import ChatBody, CompletionBody, read_body, read_fields
from tuningfork.serving.http.refusals import Refusal

PLAIN = {"model": "tiny", "prompt": "x"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def read(**fields: Any) -> CompletionBody:
    return read_body(CompletionBody, json.dumps({**PLAIN, **fields}).encode())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the body is not JSON: Expecting value"),
        (b"{", "the body is not JSON"),
        (b"[1]", "the body must be a JSON object, found list"),
        (b'"x"', "the body must be a JSON object, found 'x'"),
        (b'{"a": NaN}', "the body is not JSON: a number, text or depth is none"),
        (b'{"a": 1' + b"0" * 5000 + b"}", "the body is not JSON: a number, text or depth is none"),
        (b"[" * 100_000, "the body is not JSON: a number, text or depth is none"),
        (b"\xff\xfe\xfa", "the body is not JSON"),
        (rb'{"model": "x", "prompt": "\ud800"}', "half a character"),
        (b'{"model": "x", "prompt": "\xed\xa0\x80"}', "half a character|not JSON"),
    ],
)
def test_what_is_no_json_object_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(Refusal, match=message) as caught:
        read_body(CompletionBody, content)
    assert caught.value.status == 400


def test_null_is_as_if_it_were_not_there() -> None:
    fields: dict[str, Any] = dict.fromkeys(CompletionBody.model_fields)
    found = read_body(CompletionBody, json.dumps({**fields, **PLAIN, "tools": None}).encode())
    assert found == read()


def test_prompts_come_in_four_shapes() -> None:
    shapes: list[Any] = ["x", ["x", "y"], [1, 2], [[1], [2, 3]]]
    for prompt in shapes:
        assert read(prompt=prompt).prompt == prompt
    wrong: list[Any] = [1, {"a": 1}, [1, "x"], [[1], "x"], [1.5], [True], [[2**31]], [["x"]]]
    for prompt in wrong:
        with pytest.raises(Refusal, match=r"^prompt"):
            read(prompt=prompt)


def test_types_are_not_guessed() -> None:
    for field, value in (("n", "2"), ("n", 2.5), ("n", True), ("stream", "true"), ("temperature", "1")):
        with pytest.raises(Refusal, match=f"^{field}: Input should be a valid"):
            read(**{field: value})
    assert read(temperature=1).temperature == 1.0


def test_a_message_names_the_field_and_what_was_found_there() -> None:
    with pytest.raises(Refusal, match=r"^stop: .*or: .*, found 3$") as caught:
        read(stop=3)
    assert caught.value.param == "stop"
    with pytest.raises(Refusal, match=r"^model: is required$"):
        read_body(CompletionBody, b"{}")
    with pytest.raises(Refusal, match=r"found 'x{79}\.\.\.$"):
        read(n="x" * 5000)


@given(st.dictionaries(st.sampled_from(sorted([*ChatBody.model_fields, "tools", "x"])), JSON))
def test_whatever_comes_is_read_or_refused(given: dict[str, Any]) -> None:
    for kind in (ChatBody, CompletionBody):
        with suppress(Refusal):
            assert isinstance(read_body(kind, json.dumps(given).encode()), kind)


@given(st.binary(max_size=200))
def test_whatever_bytes_come_are_refused(content: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        read_body(ChatBody, content)
    assert caught.value.status == 400


def test_fields_of_ones_own_are_strict_too() -> None:
    class Name(BaseModel):
        name: str

    assert read_fields(Name, b'{"name": "x"}').name == "x"
    with pytest.raises(Refusal, match="name: is required"):
        read_fields(Name, b"{}")
