from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tuningfork.tasks.lint.registry import RULES, lint
from tuningfork.tasks.lint.rule import Rule, Specimen, subject_of

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "lint.md"
each = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)


@each
def test_a_rule_fires_where_it_should_and_not_where_it_should_not(rule: Rule) -> None:
    found = rule.findings(rule.fires.subject())
    assert found
    assert {(finding.rule, finding.severity) for finding in found} == {(rule.name, rule.severity)}
    assert all("\n" not in finding.message and finding.place for finding in found)
    assert rule.findings(rule.passes.subject()) == []


@each
def test_what_shows_one_rule_is_no_example_of_a_worse_one(rule: Rule) -> None:
    found = lint(rule.fires.subject())
    assert {finding.rule for finding in found if finding.severity == "error"} <= {rule.name}


def test_nothing_is_found_in_a_good_task() -> None:
    assert lint(Specimen({}).subject()) == []


def test_names_are_told_apart() -> None:
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    "folder", sorted((ROOT / "examples").glob("*/task.yaml")), ids=lambda path: path.parent.name
)
def test_nothing_is_found_in_the_shipped_examples(folder: Path) -> None:
    subject = subject_of(YAML(typ="safe", pure=True).load(folder.read_text(encoding="utf-8")))
    assert subject.task is not None
    assert lint(subject) == []


def test_errors_come_first() -> None:
    fields = {"prompt": "Obviously, answer. Use sk-proj-abcdefghij0123456789. {{message}}"}
    found = [finding.rule for finding in lint(Specimen(fields).subject())]
    assert found == ["secret", "loaded-wording"]


def test_the_page_lists_every_rule_as_it_is() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert rows == [f"| `{rule.name}` | {rule.severity} | {rule.finds} |" for rule in RULES]
