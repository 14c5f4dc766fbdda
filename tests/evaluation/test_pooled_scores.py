import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.evaluation.evaluate import Evaluation
from tuningfork.evaluation.pooled_scores import row_values, score_difference, score_interval
from tuningfork.evaluation.split_scores import split_difference, split_interval
from tuningfork.evaluation.statistics import mean_interval, paired_difference
from tuningfork.tasks.metrics import get_metric
from tuningfork.tasks.split_metrics import SplitMetric

METRIC = get_metric("entity_f1")
ROWS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 9)), min_size=2, max_size=20)


def evaluation(scores: list[float], weights: list[float] | None) -> Evaluation:
    return Evaluation([""] * len(scores), scores, [0.0] * len(scores), 0.0, weights)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@given(rows=ROWS)
def test_the_mean_of_the_values_is_the_score_of_the_split(rows: list[tuple[float, int]]) -> None:
    scores, weights = [score for score, _ in rows], [float(weight) for _, weight in rows]
    values = row_values(scores, weights)
    found = evaluation(scores, weights)
    assert math.fsum(values) / len(values) == pytest.approx(found.mean_score, abs=1e-9)
    if any(weights):
        by_hand = math.fsum(map(math.prod, zip(scores, weights, strict=True))) / sum(weights)
        assert found.mean_score == pytest.approx(by_hand, abs=1e-9)


def test_rows_that_count_alike_keep_their_scores() -> None:
    assert row_values([0.25, 1.0], None) == [0.25, 1.0]
    assert row_values([0.25, 1.0], [0.0, 0.0]) == [0.25, 1.0]
    assert row_values([0.25, 1.0], [3.0, 3.0]) == pytest.approx([0.25, 1.0])


@given(rows=st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_without_weights_intervals_and_verdicts_are_those_of_the_scores(rows: list[float]) -> None:
    ours, theirs = evaluation(rows, None), evaluation(rows[::-1], None)
    bounds = (0.0, 1.0)
    assert score_interval(ours, METRIC, rng()) == mean_interval(rows, bounds=bounds, rng=rng())
    expected = paired_difference(rows, rows[::-1], bounds=bounds, rng=rng())
    assert score_difference(ours, theirs, METRIC, rng()) == expected


def test_the_interval_is_as_wide_as_the_score_varies_over_other_rows() -> None:
    generator = np.random.default_rng(3)
    weights = generator.integers(1, 9, size=(400, 60)).astype(float)
    # Long rows are harder, so that rows which count more also score less.
    scores = (generator.random((400, 60)) > weights / 12).astype(float)
    splits = [evaluation(list(s), list(w)) for s, w in zip(scores, weights, strict=True)]
    truth = float((scores * weights).sum() / weights.sum())
    held = [truth in score_interval(split, METRIC, rng()) for split in splits[:60]]
    assert sum(held) >= 53
    widths = [score_interval(split, METRIC, rng()).width for split in splits[:10]]
    spread = float(np.std([split.mean_score for split in splits]))
    assert np.mean(widths) == pytest.approx(2 * 1.96 * spread, rel=0.2)


def test_rows_that_count_for_nothing_are_no_evidence() -> None:
    ours = evaluation([1.0] * 4 + [1.0] * 96, [2.0] * 4 + [0.0] * 96)
    theirs = evaluation([0.0] * 4 + [1.0] * 96, [1.0] * 4 + [0.0] * 96)
    found = score_difference(ours, theirs, METRIC, rng())
    assert found.n == 4
    assert found.mean == 1.0
    assert found.interval.high == 1.0
    few = score_difference(evaluation([1.0] * 4, None), evaluation([0.0] * 4, None), METRIC, rng())
    assert found.interval.low == pytest.approx(few.interval.low)
    assert score_interval(ours, METRIC, rng()).width > 0.3


def test_a_row_that_counts_for_one_of_both_is_kept() -> None:
    ours = evaluation([0.0, 1.0, 1.0], [1.0, 2.0, 0.0])
    theirs = evaluation([1.0, 1.0, 1.0], [0.0, 2.0, 0.0])
    found = score_difference(ours, theirs, METRIC, rng())
    assert found.n == 2
    assert found.mean == pytest.approx(2 / 3 - 1)


def test_no_interval_leaves_the_scores_there_are() -> None:
    ours = evaluation([1.0, 0.9, 1.0, 0.2], [1.0, 9.0, 1.0, 1.0])
    theirs = evaluation([0.0, 0.0, 0.1, 0.0], [8.0, 1.0, 1.0, 1.0])
    interval = score_difference(ours, theirs, METRIC, rng()).interval
    assert -1.0 <= interval.low <= interval.high <= 1.0
    of_one = score_interval(ours, METRIC, rng())
    assert 0.0 <= of_one.low <= ours.mean_score <= of_one.high <= 1.0


def test_a_margin_makes_equivalent_a_verdict() -> None:
    rows = [0.0, 1.0] * 100
    ours, theirs = evaluation([*rows, 1.0], None), evaluation([*rows, 0.0], None)
    assert score_difference(ours, theirs, METRIC, rng()).verdict == "not enough data"
    found = score_difference(ours, theirs, METRIC, rng(), margin=0.1)
    assert (found.verdict, found.margin) == ("equivalent", 0.1)


def test_metrics_of_a_split_get_intervals_of_their_own() -> None:
    gold = ["a", "b"] * 20
    one, other = (
        Evaluation(said, [0.0] * 40, [0.1] * 40, 0.0, None, None, [[text] for text in gold], ("a", "b"))
        for said in (gold[:30] + ["b"] * 10, ["a"] * 40)
    )
    mcc = get_metric("mcc")
    assert isinstance(mcc, SplitMetric)
    assert score_interval(one, mcc, rng()) == split_interval(mcc, [one.answers], rng())
    found = score_difference(one, other, mcc, rng(), margin=0.1)
    assert found == split_difference(mcc, [one.answers], [other.answers], rng(), margin=0.1)
    assert found.verdict == "better"
