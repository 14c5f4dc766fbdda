from typing import Any

import pytest

from tuningfork.tasks.lint.places import PLACES
from tuningfork.tasks.lint.rule import Specimen


def found(**fields: Any) -> dict[str, list[tuple[str, str]]]:
    subject = Specimen(fields).subject()
    by_rule = {rule.name: rule.findings(subject) for rule in PLACES}
    return {name: [(one.place, one.message) for one in some] for name, some in by_rule.items() if some}


def inputs(*names: str) -> dict[str, Any]:
    return {"train": "rows.jsonl", "target": "queue", "inputs": {name: name for name in names}}


def test_one_mistake_is_told_once_and_with_its_line() -> None:
    assert found(prompt="Answer with the queue.\n\n{{mesage}}") == {
        "missing-variable": [
            ("prompt line 3", "{{mesage}} is not in data.inputs, so no row fills it: did you mean 'message'?")
        ]
    }
    unclosed = found(prompt="Answer.\n{{message")
    assert list(unclosed) == ["unclosed-marker"]
    assert unclosed["unclosed-marker"][0][0] == "prompt line 2"
    assert list(found(prompt="A{% if message %}", template_language="jinja2")) == ["unclosed-marker"]
    assert list(found(metric="acuracy")) == ["unusable"]


@pytest.mark.parametrize(
    ("names", "is_found"),
    [
        (("message", "messages"), True),
        (("text", "Text"), True),
        (("user_name", "username"), True),
        (("item1", "iteml"), True),
        (("customer", "custumer"), True),
        (("text1", "text2"), False),
        (("question", "context"), False),
        (("from", "form"), False),
    ],
)
def test_names_that_look_alike(names: tuple[str, str], is_found: bool) -> None:
    prompt = "Answer with the queue. " + " ".join(f"{{{{{name}}}}}" for name in names)
    assert ("alike-variables" in found(data=inputs(*names), prompt=prompt)) == is_found


def test_a_variable_that_only_a_condition_reads_is_used() -> None:
    prompt = "Answer with the queue. {% if urgent == 'yes' %}Hurry.{% endif %} {{ message }}"
    fields = {"data": inputs("message", "urgent"), "prompt": prompt}
    assert found(**fields, template_language="jinja2") == {}
    assert list(found(data=inputs("message", "urgent"))) == ["unused-variable"]


def test_literal_braces_are_no_variable_in_single_braces() -> None:
    assert found(prompt=r'Answer as JSON: {"message": "x"} \{{message}} {{{message}}}') == {}
    assert found(prompt="Answer. {message}\n{{message}}")["single-braces"][0][0] == "prompt line 1"


def test_notes_are_found_in_capitals_and_brackets() -> None:
    assert "left-over" in found(prompt="Answer with [insert tone]. {{message}}")
    assert "left-over" not in found(prompt="Answer with [message] and todo. {{message}}")
