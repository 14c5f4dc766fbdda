import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.errors import DataError, TaskError
from tuningfork.tasks.metrics import (
    METRICS,
    Metric,
    accuracy,
    chrf,
    exact_match,
    field_f1,
    get_metric,
    token_f1,
    valid_json,
)
from tuningfork.tasks.split_metrics import SPLIT_METRICS, SplitMetric

METRICS_PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"

TEXT = st.text(max_size=30)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.dictionaries(st.text(max_size=4), inner, min_size=1, max_size=3)
    ),
    max_leaves=8,
)


@given(st.sampled_from(sorted(set(METRICS) - {"field_f1"})), TEXT, st.lists(TEXT, min_size=1, max_size=3))
def test_every_score_lies_between_0_and_its_maximum(
    name: str, prediction: str, references: list[str]
) -> None:
    metric = METRICS[name]
    assert 0.0 <= metric.score(prediction, references) <= metric.maximum + 1e-9


@given(JSON_VALUES)
def test_a_json_text_matches_itself_in_any_layout(value: object) -> None:
    assert field_f1(json.dumps(value, indent=2), [json.dumps(value)]) == 1.0


@given(TEXT, TEXT)
def test_another_reference_never_lowers_the_score(prediction: str, reference: str) -> None:
    for name in ("accuracy", "exact_match", "token_f1", "chrf"):
        score = METRICS[name].score
        assert score(prediction, [reference, prediction]) >= score(prediction, [reference]) - 1e-9


def test_accuracy_minds_case_but_not_outer_space() -> None:
    assert accuracy(" card \n", ["card"]) == 1.0
    assert accuracy("Card", ["card"]) == 0.0
    assert accuracy("b", ["a", "b"]) == 1.0


def test_exact_match_ignores_case_articles_and_punctuation() -> None:
    assert exact_match("The  cat!", ["a Cat"]) == 1.0
    assert exact_match("cats", ["cat"]) == 0.0


def test_token_f1_by_hand() -> None:
    assert token_f1("the black cat", ["black dog sat"]) == pytest.approx(2 * 1 / (2 + 3))
    assert token_f1("black cat", ["dog", "black cat"]) == 1.0
    assert token_f1("the", ["a"]) == 1.0
    assert token_f1("the", ["dog"]) == 0.0


def test_token_f1_counts_repeated_words_once_each() -> None:
    assert token_f1("no no no", ["no"]) == pytest.approx(2 * 1 / 4)


def test_field_f1_by_hand() -> None:
    reference = '{"name": "Ann", "age": 30, "tags": ["x", "y"]}'
    assert field_f1('{"tags": ["y", "x"], "age": 30.0, "name": " Ann "}', [reference]) == 1.0
    assert field_f1('{"name": "Ann", "age": 31}', [reference]) == pytest.approx(2 * 1 / (2 + 4))
    assert field_f1('{"other": {"name": "Ann"}}', [reference]) == 0.0


def test_field_f1_tells_types_and_empty_values_apart() -> None:
    assert field_f1('{"a": true}', ['{"a": 1}']) == 0.0
    assert field_f1('{"a": "1"}', ['{"a": 1}']) == 0.0
    assert field_f1('{"a": null}', ['{"a": []}']) == 0.0
    assert field_f1('{"a": {"b": 1}}', ['{"a/b": 1}']) == 0.0


@pytest.mark.parametrize("prediction", ["", "Ann", '{"a": 1', '{"a": NaN}', "[" * 100_000, "9" * 10_000])
def test_a_prediction_that_is_not_json_scores_0(prediction: str) -> None:
    assert field_f1(prediction, ['{"a": 1}']) == 0.0


def test_python_only_numbers_spoil_a_prediction() -> None:
    assert field_f1('{"a": 1, "b": NaN}', ['{"a": 1, "b": 2}']) == 0.0


def test_a_reference_that_is_not_json_is_an_error() -> None:
    with pytest.raises(DataError, match="field_f1 needs references in JSON, found 'Ann'"):
        field_f1("{}", ["Ann"])


def test_chrf_takes_the_best_reference() -> None:
    best = chrf("hello there", ["hello you"])
    assert 0 < best < 100
    assert chrf("hello there", ["zzz", "hello you"]) == pytest.approx(best)
    assert chrf("hello there", ["hello there", "zzz"]) == pytest.approx(100)
    assert chrf("", ["x"]) == 0


def test_an_unknown_metric_is_refused_with_a_hint() -> None:
    with pytest.raises(TaskError, match="unknown metric 'acuracy': did you mean 'accuracy'"):
        get_metric("acuracy")
    with pytest.raises(TaskError, match="unknown metric 'zz': known: 'accuracy', 'exact_match'"):
        get_metric("zz")


def test_metrics_are_found_by_their_own_name() -> None:
    assert all(get_metric(name).name == name for name in METRICS)
    assert isinstance(get_metric("chrf"), Metric)


@pytest.mark.parametrize(
    ("metric", "ours", "theirs", "is_same"),
    [
        ("accuracy", " Tea ", "Tea", True),
        ("accuracy", "Tea", "tea", False),
        ("chrf", "Tea\n", "Tea", True),
        ("chrf", "Tea.", "Tea", False),
        ("exact_match", "The tea!", "tea", True),
        ("exact_match", "milk tea", "tea milk", False),
        ("token_f1", "a Tea", "tea", True),
        ("token_f1", "milk tea", "tea milk", False),
        ("field_f1", '{"a": 1, "b": " x"}', '{"b": "x", "a": 1.0}', True),
        ("field_f1", '{"a": [1, 2]}', '{"a": [2, 1]}', True),
        ("field_f1", '{"a": 1}', '{"a": 2}', False),
        ("field_f1", "no json ", "no json", True),
        ("field_f1", "no json", "other", False),
    ],
)
def test_answers_that_count_as_one(metric: str, ours: str, theirs: str, is_same: bool) -> None:
    key = get_metric(metric).answer_key
    assert (key(ours) == key(theirs)) is is_same
    assert hash(key(ours)) is not None


def test_the_page_of_metrics_lists_each_with_its_range_and_direction() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \|[^|]*\|[^|]*\| ([^|]+) \| (higher|lower) \|[^|]*\|$",
        METRICS_PAGE.read_text("utf-8"),
        re.MULTILINE,
    )
    known = {**METRICS, **SPLIT_METRICS}
    assert [name for name, _, _ in rows] == [*METRICS, *SPLIT_METRICS]
    for name, scale, direction in rows:
        metric = known[name]
        lowest = metric.minimum if isinstance(metric, SplitMetric) else 0
        highest = f"{metric.maximum:,.0f}"
        assert scale == f"{lowest:g} to {highest}", name
        assert (direction == "higher") == metric.higher_is_better, name


def test_an_answer_is_json_or_not() -> None:
    assert valid_json('{"a": [1, null]}', ["other"]) == 1.0
    assert valid_json("{'a': 1}", ["{}"]) == valid_json("NaN", ["{}"]) == valid_json("", ["{}"]) == 0.0


def test_the_registry_is_light() -> None:
    heavy = {"numpy", "sacrebleu", "scipy", "sklearn", "torch"}
    code = f"import sys, tuningfork.tasks.task; print(*{heavy} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""
