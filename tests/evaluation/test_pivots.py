import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from tuningfork.evaluation.pivots import (
    AllEqual,
    Hull,
    Interval,
    MidP,
    Pivot,
    Score,
    Student,
    Unknown,
    equivalence_p,
    t_p_value,
)
from tuningfork.evaluation.resampling import resampled_rows

LEVELS = st.sampled_from([0.8, 0.9, 0.95, 0.99, 0.999])
SKEWED = np.random.default_rng(4).exponential(size=25) - 0.8


@st.composite
def tables(draw: st.DrawFn) -> tuple[int, int, int]:
    """Wins, losses and rows, with at least one flip."""
    wins, losses = draw(st.integers(0, 60)), draw(st.integers(0, 60))
    assume(wins + losses > 0)
    return wins, losses, wins + losses + draw(st.integers(0, 500)) + (wins + losses == 1)


def agrees(pivot: Pivot, level: float, null: float) -> bool:
    """Whether an interval leaves a value out exactly if its p is below 1 - level; at an end both may be."""
    interval, p = pivot.interval(level), pivot.p_value(null)
    near_an_end = min(abs(null - interval.low), abs(null - interval.high)) < 1e-9
    is_tie = near_an_end or abs(p - (1 - level)) <= 1e-9
    return is_tie or (null not in interval) == (p < 1 - level)


@given(tables(), LEVELS, st.floats(-1, 1))
@settings(deadline=None)
def test_score_and_mid_p_agree_with_their_intervals(
    table: tuple[int, int, int], level: float, null: float
) -> None:
    wins, losses, num_rows = table
    for pivot in (Score(*table), MidP(*table), Hull([Score(*table), MidP(*table)], -1, 1)):
        assert agrees(pivot, level, null)
        assert (wins - losses) / num_rows in pivot.interval(level)
        assert pivot.p_value((wins - losses) / num_rows) == pytest.approx(1.0)


@given(
    st.sampled_from([SKEWED, -SKEWED, np.array([0.0] * 17 + [1.0] * 3), np.array([0.0, 0.1, 5.0])]),
    LEVELS,
    st.floats(-3, 6),
)
@settings(deadline=None)
def test_the_bootstrap_agrees_with_its_intervals(values: np.ndarray, level: float, null: float) -> None:
    assert agrees(resampled_rows(values, np.random.default_rng(1)), level, null)


@given(LEVELS, st.floats(-5, 5), st.integers(2, 40))
def test_the_others_agree_with_their_intervals(level: float, null: float, num_rows: int) -> None:
    assert agrees(Student(0.7, 0.4, 6.5), level, null)
    assert agrees(AllEqual(0.3, num_rows, -1.0, 2.0), level, null)
    assert agrees(AllEqual(0.3, num_rows, -math.inf, math.inf), level, null)
    assert agrees(Unknown(-1.0, 1.0), level, null)
    assert agrees(Hull([Student(0.7, 0.4, 6.5), Student(0.7, 0.2, 90.0)], -1.0, 1.0), level, null)


@pytest.mark.parametrize("end", [-0.517, -0.026])
def test_the_score_interval_is_tango_s(end: float) -> None:
    # Fagerland, Lydersen and Laake (2014), Statistics in Medicine 33:2850-2875: Tango's interval of the
    # airway hyper-responsiveness data ends where the statistic is the normal quantile.
    expected = t_p_value(float(stats.norm.ppf(0.975)), 20)
    assert Score(1, 7, 21).p_value(end) == pytest.approx(expected, abs=1e-3)


@given(tables())
def test_no_difference_is_tested_by_mcnemar(table: tuple[int, int, int]) -> None:
    wins, losses, num_rows = table
    statistic = abs(wins - losses) / math.sqrt(wins + losses)
    assert Score(*table).p_value(0.0) == pytest.approx(2 * stats.t.sf(statistic, num_rows - 1))
    exact = stats.binomtest(wins, wins + losses).pvalue
    mid = exact - (0 if wins == losses else stats.binom.pmf(wins, wins + losses, 0.5))
    assert MidP(*table).p_value(0.0) == pytest.approx(1.0 if wins == losses else mid)


def test_student_is_scipy_s() -> None:
    expected = stats.ttest_1samp(SKEWED, 0.3)
    found = Student(float(SKEWED.mean()), float(SKEWED.std(ddof=1)) / 5, 24)
    assert found.p_value(0.3) == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert (found.interval(0.95).low, found.interval(0.95).high) == pytest.approx(
        (interval.low, interval.high)
    )


def test_a_table_turned_round_gives_the_same_interval_turned_round() -> None:
    for kind in (Score, MidP):
        one, other = kind(9, 2, 40).interval(0.95), kind(2, 9, 40).interval(0.95)
        assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


@given(tables(), st.floats(0.001, 1.2))
@settings(deadline=None)
def test_equivalence_is_two_one_sided_tests(table: tuple[int, int, int], margin: float) -> None:
    pivot = Hull([Score(*table), MidP(*table)], -1, 1)
    p = equivalence_p(pivot, (table[0] - table[1]) / table[2], margin)
    narrower = pivot.interval(0.9)
    if min(abs(abs(end) - margin) for end in (narrower.low, narrower.high)) > 1e-9:
        assert (p < 0.05) == (-margin < narrower.low and narrower.high < margin)


def test_equal_values_follow_the_rule_of_three() -> None:
    assert AllEqual(0.0, 300, 0.0, 1.0).interval(0.9).high == pytest.approx(3 / 300, rel=0.01)
    assert AllEqual(1.0, 5, -1.0, 1.0).p_value(0.0) == pytest.approx(2 * 0.5**5)


def test_an_interval_has_a_width() -> None:
    assert Interval(-1.0, 2.5, 0.95).width == 3.5
    assert 2.5 in Interval(-1.0, 2.5, 0.95)
    assert 2.6 not in Interval(-1.0, 2.5, 0.95)
