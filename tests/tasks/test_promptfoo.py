from pathlib import Path
from typing import Any

import pytest

from tuningfork.errors import SuiteError
from tuningfork.tasks.assertions.answer import CheckedAnswer
from tuningfork.tasks.assertions.assertion import check_answer
from tuningfork.tasks.promptfoo import cases_of, is_promptfoo
from tuningfork.tasks.suite_files import read_suite

CONFIG = """\
# yaml-language-server: $schema=https://promptfoo.dev/config-schema.json
description: Replies
prompts: ["Answer: {{message}}"]
providers: [openai:gpt-4o-mini]
defaultTest:
  vars: {tone: warm}
  assert:
    - {type: not-icontains, value: refund}
tests:
  - description: oat milk
    vars: {message: oat milk?, tone: dry}
    assert:
      - {type: contains-any, value: [oat, soy], weight: 2}
      - {type: starts-with, value: Oh}
    threshold: 0.5
  - vars: {message: 12}
    assert:
      - {type: latency, threshold: 1500}
"""


def place(*keys: object) -> str:
    return "f.yaml:" + ".".join(map(str, keys))


def test_a_file_is_read_as_a_suite(tmp_path: Path) -> None:
    path = tmp_path / "promptfooconfig.yaml"
    path.write_text(CONFIG, encoding="utf-8")
    suite = read_suite(path)
    first, second = suite.cases
    assert suite.description == "Replies"
    assert (first.id, first.place, first.threshold) == ("oat milk", f"{path}:10", 0.5)
    assert (second.id, second.threshold) == ("2", 1.0)
    assert (first.inputs, second.inputs) == (
        {"tone": "dry", "message": "oat milk?"},
        {"tone": "warm", "message": "12"},
    )
    assert check_answer(CheckedAnswer("Oh, soy!"), first.assertions).status == "passed"
    assert check_answer(CheckedAnswer("Oh, tea. No REFUND"), first.assertions).score == 0.25
    assert check_answer(CheckedAnswer("x", latency_seconds=1.4), second.assertions).status == "passed"
    assert check_answer(CheckedAnswer("x", latency_seconds=1.6), second.assertions).status == "failed"


@pytest.mark.parametrize(
    ("assertion", "said"),
    [
        ({"type": "contains", "value": "a"}, {"contains": "a"}),
        ({"type": "icontains-all", "value": ["a"]}, {"contains": ["a"], "ignore_case": True}),
        ({"type": "icontains-any", "value": ["a"]}, {"contains": ["a"], "match": "any", "ignore_case": True}),
        ({"type": "equals", "value": "a", "metric": "m"}, {"equals": "a"}),
        ({"type": "not-equals", "value": "a"}, {"not_equals": "a"}),
        ({"type": "regex", "value": "a+"}, {"regex": "a+"}),
        ({"type": "is-json"}, {"is_json": True}),
        ({"type": "not-is-json"}, {"not_is_json": True}),
        ({"type": "is-json", "value": {"type": "object"}}, {"json_schema": {"type": "object"}}),
        ({"type": "cost", "threshold": 0.01, "weight": 3}, {"cost": 0.01, "weight": 3}),
    ],
)
def test_assertions_are_said_in_our_words(assertion: dict[str, Any], said: dict[str, Any]) -> None:
    (case,) = cases_of({"tests": [{"vars": {"a": "b"}, "assert": [assertion]}]}, place)
    assert case == {"inputs": {"a": "b"}, "assertions": [said]}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"tests": [], "scenarios": []}, "'scenarios' of promptfoo is not supported"),
        ({"tests": "tests/*.yaml"}, r"tests: expected a list in this file, found 'tests/\*"),
        ({"tests": ["file://a.yaml"]}, "test 1: expected fields such as vars"),
        ({"tests": [{"vars": {}, "options": {}}]}, "test 1: 'options' of promptfoo is not supported"),
        ({"tests": [{"vars": {"a": ["x", "y"]}}]}, r"vars\.a: expected a text or a number"),
        ({"tests": [{"vars": {"a": "file://x.txt"}}]}, r"vars\.a: files and templates"),
        ({"tests": [{"vars": ["a"]}]}, "vars: expected names with values"),
        ({"tests": [{"assert": {"type": "equals"}}]}, "assert: expected a list"),
        ({"tests": [{"assert": [{"type": "llm-rubric", "value": "x"}]}]}, "'llm-rubric' of promptfoo is not"),
        ({"tests": [{"assert": [{"type": "javascript", "value": "x"}]}]}, "'javascript' of promptfoo is not"),
        ({"tests": [{"assert": [{"type": "contain", "value": "x"}]}]}, "did you mean 'contains'"),
        ({"tests": [{"assert": [{"type": "contains", "value": "{{a}}"}]}]}, "files and templates"),
        ({"tests": [{"assert": [{"type": "contains-any", "value": ["file://x"]}]}]}, "files and templates"),
        (
            {"tests": [{"assert": [{"type": "contains", "value": "x", "threshold": 1}]}]},
            "a threshold of this",
        ),
        ({"tests": [{"assert": [{"type": "latency"}]}]}, "threshold: expected a number, found None"),
        ({"tests": [{"assert": [{"type": "equals", "provider": "x"}]}]}, "'provider' of promptfoo"),
        ({"tests": [], "defaultTest": {"options": {}}}, "defaultTest: 'options' of promptfoo"),
    ],
)
def test_what_is_not_supported_is_named_in_one_line(content: dict[str, Any], problem: str) -> None:
    with pytest.raises(SuiteError, match=problem) as refused:
        cases_of(content, place)
    assert "\n" not in str(refused.value)


def test_names_that_repeat_are_no_ids() -> None:
    tests = [{"description": "a", "vars": {"x": 1}}, {"description": "a", "vars": {"x": 2}}]
    assert [case.get("id") for case in cases_of({"tests": tests}, place)] == [None, None]


def test_a_suite_of_ours_is_none_of_theirs() -> None:
    assert is_promptfoo({"tests": []})
    assert not is_promptfoo({"cases": [], "tests": []})
    assert not is_promptfoo([])
