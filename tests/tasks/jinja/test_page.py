"""What the documentation says there is, is what there is."""

import re
from pathlib import Path

from tuningfork.tasks.jinja.filters import FILTERS, TESTS
from tuningfork.tasks.jinja.methods import METHODS

PAGE = (Path(__file__).parents[3] / "docs" / "templates.md").read_text(encoding="utf-8")


def listed(kind: str) -> set[str]:
    found = re.search(rf"^- {kind}: (.*?)(?=^- |^$)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return set(re.findall(r"\w+", found[1]))


def test_filters_and_tests_are_listed() -> None:
    assert listed("filters") == set(FILTERS)
    assert listed("tests") == set(TESTS)


def test_methods_are_listed() -> None:
    assert listed("methods of texts") - {"of", "mappings", "loop"} == METHODS
