from typing import Any

import pytest

from tests.serving.http.conftest import Served
from tests.serving.scripted_engine import tokens_of

PATH = "/v1/chat/completions"
SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "null"}},
    "required": ["a"],
    "additionalProperties": False,
}


def first_tokens(served: Served) -> str:
    grammar = served.engine.last.grammar
    assert grammar is not None
    return served.service.texts.text_of_row(grammar.allowed().nonzero().flatten().tolist())


@pytest.mark.parametrize(
    ("fields", "first"),
    [
        ({"response_format": {"type": "json_object"}}, "{"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}}, "{"),
        ({"guided_json": SCHEMA}, "{"),
        ({"guided_json": '{"type": "boolean"}'}, "ft"),
        ({"guided_regex": "[xy]z"}, "xy"),
        ({"guided_choice": ["yes", "no"]}, "ny"),
        ({"structured_outputs": {"json": SCHEMA}}, "{"),
        ({"structured_outputs": {"regex": "[xy]z"}}, "xy"),
        ({"structured_outputs": {"choice": ["yes", "no"]}}, "ny"),
        ({"structured_outputs": {"json_object": True}}, "{"),
    ],
)
def test_forms_come_in_several_ways(served: Served, fields: dict[str, Any], first: str) -> None:
    for model in ("tiny", "queues"):
        served.chat(model=model, **fields)
        assert sorted(first_tokens(served)) == sorted(first)


def test_each_answer_has_a_form_of_its_own_and_ends_as_its_row(served: Served) -> None:
    served.chat(n=2, guided_choice=["a", "b"])
    one, other = (request.grammar for request in served.engine.asked)
    assert one is not None
    assert other is not None
    (a,) = tokens_of("a")
    one.accept(a)
    assert set(one.allowed().nonzero().flatten().tolist()) == set(tokens_of("</s><|end|>"))
    assert other.allowed()[a]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"response_format": {"type": "xml"}}, "response_format: expected"),
        ({"response_format": {"type": "json_schema"}}, "response_format: expected"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": 3}}},
            "response_format: expected",
        ),
        ({"guided_regex": "a", "guided_choice": ["b"]}, "an answer has one form, found guided_regex"),
        ({"guided_regex": "("}, "the regular expression cannot be used"),
        ({"guided_regex": "a" * 70_000}, "has 70000 characters"),
        ({"guided_choice": []}, "there must be at least one choice"),
        ({"guided_regex": "a", "min_tokens": 2}, "min_tokens cannot be kept by an answer of a given form"),
        ({"structured_outputs": {"grammar": "x"}}, "structured_outputs"),
    ],
)
def test_forms_that_cannot_be_kept_are_refused(served: Served, fields: dict[str, Any], message: str) -> None:
    body = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], **fields}
    assert message in served.refused(PATH, body)["message"]
    assert served.engine.asked == []


def test_no_answer_takes_longer_than_the_server_lets_it(served: Served) -> None:
    served.chat(deadline_seconds=10**6)
    assert served.engine.last.deadline_seconds == served.service.limits.deadline_seconds
    served.service.deadline_seconds = 7.0
    served.chat()
    assert served.engine.last.deadline_seconds == 7.0
    served.chat(deadline_seconds=9)
    assert served.engine.last.deadline_seconds == 9.0


def test_names_of_requests_are_their_own(served: Served) -> None:
    served.chat(n=3)
    served.chat()
    assert len({request.id for request in served.engine.asked}) == 4
