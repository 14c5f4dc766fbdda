from pathlib import Path
from typing import Any

import pytest

from tests.tasks.assertions.checking import outcome, status
from tuningfork.errors import TaskError
from tuningfork.tasks.assertions import patterns, texts


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({"contains": "tea"}, "passed"),
        ({"contains": "Tea"}, "failed"),
        ({"contains": "TEA", "ignore_case": True}, "passed"),
        ({"contains": ["tea", "milk"]}, "passed"),
        ({"contains": ["tea", "beer"]}, "failed"),
        ({"contains": ["tea", "beer"], "match": "any"}, "passed"),
        ({"contains": ["wine", "beer"], "match": "any"}, "failed"),
        ({"contains": ["tea", "beer"], "threshold": 0.5}, "passed"),
        ({"contains": ["tea", "beer", "wine"], "threshold": 0.5}, "failed"),
        ({"not_contains": "beer"}, "passed"),
        ({"not_contains": "tea"}, "failed"),
        ({"contains": "tea", "not": True}, "failed"),
        ({"not_contains": "tea", "not": True}, "passed"),
    ],
)
def test_contains(declared: dict[str, Any], expected: str) -> None:
    assert status(declared, "Two teas: tea and milk.") == expected


def test_reasons_name_what_is_missing_or_too_much() -> None:
    assert (
        outcome({"contains": ["tea", "beer", "wine"]}, "tea").reason == "does not contain 'beer' and 'wine'"
    )
    assert outcome({"not_contains": "tea"}, "tea").reason == "contains 'tea', which must not be"
    assert outcome({"contains": ["b", "c"], "match": "any"}, "x").reason == "has none of 'b' and 'c'"
    many = outcome({"contains": ["1", "2", "3", "4", "5", "6"]}, "x").reason
    assert many == "does not contain '1', '2', '3', '4' and 2 more"


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({"regex": r"^Oh (hello|crumbs)"}, "passed"),
        ({"regex": r"^oh"}, "failed"),
        ({"regex": r"^oh", "ignore_case": True}, "passed"),
        ({"regex": ["Oh", "tea$"]}, "passed"),
        ({"regex": ["Oh", "beer$"]}, "failed"),
        ({"not_regex": r"\d"}, "passed"),
        ({"not_regex": r"tea"}, "failed"),
    ],
)
def test_regex(declared: dict[str, Any], expected: str) -> None:
    assert status(declared, "Oh hello, tea") == expected


@pytest.mark.parametrize("kind", ["regex", "not_regex"])
def test_a_pattern_that_takes_too_long_has_failed_either_way(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = patterns.search
    monkeypatch.setattr(texts, "search", lambda *given, **options: quick(*given, **options, seconds=0.05))
    found = outcome({kind: "(a+)+$"}, "a" * 5000 + "!")
    assert found.status == "failed"
    assert "took more than 1 s on this answer" in found.reason


def test_a_wrong_pattern_is_refused_when_it_is_read() -> None:
    with pytest.raises(TaskError, match=r"regex: not a regular expression .*: '\('"):
        outcome({"regex": "("}, "")


@pytest.mark.parametrize(
    ("declared", "text", "expected"),
    [
        ({"equals": "billing"}, " billing\n", "passed"),
        ({"equals": "billing"}, "Billing", "failed"),
        ({"equals": "STRASSE", "ignore_case": True}, "straße", "passed"),
        ({"equals": ["a", "b"]}, "b", "passed"),
        ({"equals": None}, "right", "passed"),
        ({"equals": None}, "also right", "passed"),
        ({"equals": None}, "wrong", "failed"),
        ({"equals": {"a": [1, None]}}, '{ "a": [1, null] }', "passed"),
        ({"equals": {"a": 1}}, '{"a": 2}', "failed"),
        ({"equals": {"a": 1}}, "a: 1", "failed"),
        ({"equals": {"a": 1}}, "[" * 100_000, "failed"),
    ],
)
def test_equals(declared: dict[str, Any], text: str, expected: str) -> None:
    assert status(declared, text, expected=("right", "also right")) == expected


def test_without_an_expected_answer_nothing_is_compared() -> None:
    assert status({"equals": None}, "x") == "skipped"


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({"starts_with": "Oh"}, "passed"),
        ({"starts_with": ["Ah", "Oh hello"]}, "passed"),
        ({"starts_with": "hello"}, "failed"),
        ({"starts_with": "oh", "ignore_case": True}, "passed"),
        ({"ends_with": "wonky"}, "passed"),
        ({"ends_with": "Stay"}, "failed"),
        ({"not_ends_with": "Stay"}, "passed"),
    ],
)
def test_edges(declared: dict[str, Any], expected: str) -> None:
    assert status(declared, "  Oh hello. Stay wonky ") == expected


@pytest.mark.parametrize(
    ("unit", "text", "length"),
    [
        ("characters", "abc", 3),
        ("characters", "e\u0301🇩🇪👨\u200d👩\u200d👧", 3),
        ("words", "don't stop, twenty-one cafés: 7.", 5),
        ("words", "", 0),
        ("words", "हिन्दी में", 2),
        ("sentences", "One. Two! Three?", 3),
        ("sentences", 'He said "Yes." Then 3.5 came', 2),
        ("sentences", "No end", 1),
        ("sentences", "一\u3002二\uff01", 2),
        ("sentences", "... !", 0),
        ("tokens", "abcd", 2),
    ],
)
def test_length(unit: str, text: str, length: int) -> None:
    count: dict[str, Any] = {"count_tokens": lambda text: len(text) // 2}
    assert status({"length": {"min": length, "max": length, "unit": unit}}, text, **count) == "passed"
    over = outcome({"length": {"min": length + 1, "unit": unit}}, text, **count)
    assert over.status == "failed"
    assert over.reason.startswith(f"has {length} {unit[:-1]}")
    assert over.reason.endswith(f"at least {length + 1} are expected")
    if length:
        under = outcome({"length": {"max": length - 1, "unit": unit}}, text, **count)
        assert under.reason.endswith(f"at most {length - 1} are allowed")


def test_characters_are_the_default_and_tokens_need_the_model() -> None:
    assert status({"length": {"max": 3}}, "abc") == "passed"
    assert outcome({"length": {"max": 3, "unit": "tokens"}}, "abc").status == "skipped"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (5, "length: expected min, max or both, and a unit"),
        ({"most": 5}, "length: expected min, max or both, and a unit"),
        ({"unit": "words"}, "expected min, max or both, found neither"),
        ({"max": 2, "min": 3}, "max 2 is below min 3"),
        ({"max": -2}, "length: max: expected a number of at least 0, found -2"),
        (
            {"max": 2, "unit": "lines"},
            "unit: expected one of characters, words, sentences, tokens, found 'li",
        ),
    ],
)
def test_lengths_that_say_nothing_are_refused(value: Any, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        outcome({"length": value}, "")


@pytest.mark.parametrize(
    ("term", "text", "is_found"),
    [
        ("refund", "A REFUND is due", True),
        ("refund", "refundable", False),
        ("refund", "no-refund.", True),
        ("refund", "refund_id", False),
        ("Straße", "in der STRASSE", True),
        ("café", "the cafe\u0301 is", True),
        ("cafe", "the café is", False),
        ("money back", "your Money\n  back", True),
        ("money back", "money backs", False),
        ("C++", "we use C++ here", True),
        ("guarantee", "gua\u00adran\u200btee", True),
        ("कर", "करना", False),
        ("禁止", "这是禁止的", True),
        (".", "a.b", True),
        ("a.c", "abc", False),
    ],
)
def test_forbidden_terms_are_whole_words(term: str, text: str, is_found: bool) -> None:
    assert status({"forbidden_terms": [term, "zzz"]}, text) == ("failed" if is_found else "passed")


def test_forbidden_terms_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "terms.txt").write_text("# no promises\nguarantee\n\n promise \n", encoding="utf-8")
    declared = {"forbidden_terms": {"file": "terms.txt"}}
    found = outcome(declared, "We promise, we guarantee.", folder=tmp_path)
    assert found.reason == "contains the forbidden terms 'guarantee' and 'promise'"
    assert status(declared, "# no promises", folder=tmp_path) == "passed"
    (tmp_path / "terms.txt").write_text("# nothing\n", encoding="utf-8")
    with pytest.raises(TaskError, match=r"file: terms\.txt cannot be used: it holds no terms"):
        status(declared, "", folder=tmp_path)
    with pytest.raises(TaskError, match="forbidden_terms: expected a text or a list of texts, found a dict"):
        status({"forbidden_terms": {"path": "x"}}, "", folder=tmp_path)
    with pytest.raises(TaskError, match="expected terms with letters"):
        status({"forbidden_terms": ["\u200b"]}, "")
