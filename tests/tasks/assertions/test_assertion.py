import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.errors import TaskError
from tuningfork.tasks.assertions.answer import CheckedAnswer
from tuningfork.tasks.assertions.assertion import (
    KINDS,
    check_answer,
    inline_files,
    read_assertion,
    read_assertions,
)
from tuningfork.tasks.assertions.declaration import Source
from tuningfork.tasks.assertions.languages import LANGUAGES

SAMPLES: dict[str, Any] = {
    "contains": ["tea", "milk"],
    "regex": "t.a",
    "equals": None,
    "starts_with": "Oh",
    "ends_with": "wonky",
    "length": {"max": 40, "unit": "words"},
    "forbidden_terms": ["guarantee", "money back"],
    "is_json": True,
    "json_schema": {"type": "object", "properties": {"a": {"pattern": "^a"}}},
    "language": "en",
    "latency": 1.0,
    "cost": 0.1,
    "label": None,
    "probability": 0.5,
    "metric": "chrf",
    "custom": "os.path:basename",
}


@given(st.text(), st.sampled_from(list(SAMPLES)), st.booleans(), st.booleans())
def test_no_text_makes_an_assertion_raise(text: str, kind: str, is_known: bool, is_negated: bool) -> None:
    declared = {kind: SAMPLES[kind], "not": is_negated} | ({"threshold": 40} if kind == "metric" else {})
    known: dict[str, Any] = {"expected": ("tea", text), "probabilities": {"tea": 1.0}, "latency_seconds": 0.5}
    found = read_assertion(declared, Source()).outcome(CheckedAnswer(text, **(known if is_known else {})))
    assert found.status in ("passed", "failed", "skipped")
    assert found.reason
    assert "\n" not in found.reason


def test_every_kind_has_a_sample() -> None:
    assert set(SAMPLES) == set(KINDS)


def test_the_documentation_lists_every_kind_and_option_and_language() -> None:
    page = (Path(__file__).parents[3] / "docs" / "suites.md").read_text(encoding="utf-8")
    table = [line for line in page.splitlines() if line.startswith("| `")]
    named = {name for line in table for name in re.findall("`([a-z_]+)`", line.split("|")[1])}
    assert named == set(KINDS)
    for kind in KINDS.values():
        (row,) = [line for line in table if f"`{kind.name}`" in line.split("|")[1]]
        assert all(option in row.split("|")[3] for option in kind.options)
        assert ("threshold" in row.split("|")[3]) == (kind.default_threshold is not None)
    assert ", ".join(LANGUAGES) in page.replace("\n", " ")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
options = st.dictionaries(
    st.sampled_from(["weight", "threshold", "not", "match", "ignore_case", "of", "options", "x"]), anything
)


@given(st.sampled_from([*KINDS, "not_contains", "nothing"]), anything, options, st.text(max_size=20))
def test_any_declaration_is_read_or_refused_in_one_line(
    kind: str, value: Any, given_options: dict[str, Any], text: str
) -> None:
    try:
        said = read_assertion({kind: value, **given_options}, Source()).outcome(
            CheckedAnswer(text, expected=("a",))
        )
        line = said.reason
    except TaskError as error:
        line = str(error)
    assert "\n" not in line


@given(anything, st.text(max_size=10))
def test_any_list_is_read_or_refused(given_value: Any, text: str) -> None:
    for value in (given_value, [given_value]):
        try:
            assertions = read_assertions(value, Source())
        except TaskError:
            continue
        check_answer(CheckedAnswer(text), assertions)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (
            [{"contains": "a"}, {"contians": "b"}],
            "^assertion 2: unknown kind 'contians': did you mean 'contains'",
        ),
        ([{"not_contians": "b"}], "assertion 1: unknown kind 'not_contians': did you mean 'not_contains'"),
        ([{"weight": 2}], "assertion 1: unknown kind 'weight'"),
        ([{"zzz": 1}], "unknown kind 'zzz': known: contains, regex, .*custom"),
        ([{"contains": "a", "wieght": 2}], "contains: unknown option 'wieght': did you mean 'weight'"),
        ([{"contains": "a", "regex": "b"}], "expected one kind, found contains and regex; write two"),
        ([{"regex": "a", "threshold": 1}], "regex: threshold: only graded kinds have one"),
        ([{"contains": "a", "weight": 0}], "contains: weight: expected a number above 0, found 0"),
        ([{"contains": "a", "weight": -1}], "contains: weight: expected a number of at least 0, found -1"),
        ([{"contains": "a", "not": "no"}], "contains: not: expected true or false, found 'no'"),
        (
            ["contains"],
            "assertion 1: expected a kind and what it needs, as in contains: tea; found 'contains'",
        ),
        ([{}], "expected a kind"),
        ({"contains": "a"}, "assertions: expected a list"),
    ],
)
def test_unknown_kinds_and_options_are_refused_with_their_place(declared: Any, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        read_assertions(declared, Source())


def check(text: str, *declared: dict[str, Any], threshold: float = 1.0) -> Any:
    return check_answer(CheckedAnswer(text), read_assertions(list(declared), Source()), threshold=threshold)


def test_the_score_is_the_weighted_share_that_passed() -> None:
    heavy, light = {"contains": "tea", "weight": 3}, {"contains": "milk"}
    assert check("tea", heavy, light).score == 0.75
    assert check("tea", heavy, light).status == "failed"
    assert check("tea", heavy, light, threshold=0.75).status == "passed"
    assert check("tea", heavy, light, threshold=0.76).status == "failed"
    assert check("milk", heavy, light).score == 0.25
    assert check("tea milk", heavy, light).score == 1.0


def test_rounding_fails_nobody() -> None:
    thirds = [{"contains": "a", "weight": 0.1} for _ in range(3)]
    assert check("a", *thirds).status == "passed"
    assert check("a", *thirds, {"contains": "b", "weight": 0.1}, threshold=0.75).status == "passed"


def test_what_is_skipped_does_not_count() -> None:
    assert check("tea", {"contains": "tea"}, {"latency": 1}).score == 1.0
    only = check("tea", {"latency": 1})
    assert (only.status, only.score) == ("skipped", None)
    assert check("tea").status == "skipped"


def test_titles_are_short_and_say_what_is_asked() -> None:
    def title(declared: dict[str, Any]) -> str:
        return read_assertion(declared, Source()).title

    assert title({"contains": ["tea", "milk"]}) == "contains tea, milk"
    assert title({"not_contains": "tea"}) == "not contains tea"
    assert title({"contains": "tea", "not": True}) == "not contains tea"
    assert title({"length": {"max": 40, "unit": "words"}}) == "length max 40, unit words"
    assert title({"metric": "chrf", "threshold": 40}) == "metric chrf 40"
    assert title({"is_json": True}) == "is json"
    assert title({"json_schema": {}}) == "json schema"
    assert len(title({"contains": "x" * 500})) < 60


def test_files_are_put_in_place_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "terms.txt").write_text("a\nb\n", encoding="utf-8")
    given = [
        {"not_forbidden_terms": {"file": "terms.txt"}, "weight": 2},
        {"contains": "x"},
        "odd",
        {"zzz": 1},
    ]
    assert inline_files(given, tmp_path) == [
        {"not_forbidden_terms": ["a", "b"], "weight": 2},
        {"contains": "x"},
        "odd",
        {"zzz": 1},
    ]
    assert inline_files("odd", tmp_path) == "odd"
    with pytest.raises(TaskError, match=r"assertion 2: json_schema: file: \.\./x leads out of"):
        inline_files([{"contains": "x"}, {"json_schema": {"file": "../x"}}], tmp_path)
