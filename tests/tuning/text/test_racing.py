import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tuningfork.tuning.text.racing import gain, losing_p, rungs, survivors


def by_row(*values: float) -> dict[int, float]:
    return dict(enumerate(values))


@pytest.mark.parametrize(
    ("rows", "sizes"), [(5, [5]), (15, [15]), (16, [8, 16]), (32, [8, 16, 32]), (100, [12, 25, 50, 100])]
)
def test_rows_double_up_to_all(rows: int, sizes: list[int]) -> None:
    assert rungs(rows) == sizes


def test_a_gain_is_over_rows_that_both_have() -> None:
    assert gain({0: 1.0, 1: 0.5, 7: 100.0}, {0: 0.0, 1: 0.5, 9: -100.0}) == 0.5
    assert gain({0: 1.0}, {1: 1.0}) == -math.inf


@given(st.lists(st.floats(-1, 1).map(lambda x: round(x, 3)), min_size=3, max_size=20))
def test_the_test_is_students(differences: list[float]) -> None:
    if len(set(differences)) == 1:
        return
    expected = stats.ttest_1samp(differences, 0.0, alternative="less").pvalue
    zeros = by_row(*[0.0] * len(differences))
    assert losing_p(by_row(*differences), zeros) == pytest.approx(expected, abs=1e-9)


def test_equal_differences_are_tested_by_their_sign() -> None:
    assert losing_p(by_row(0, 0, 0), by_row(1, 1, 1)) == 0.125
    assert losing_p(by_row(1, 1, 1), by_row(1, 1, 1)) == 1.0
    assert losing_p(by_row(2, 2, 2), by_row(1, 1, 1)) == 1.0
    assert losing_p(by_row(0), by_row(1)) == 1.0


def test_half_goes_on_and_none_that_loses() -> None:
    to_beat = by_row(*[0.5] * 8)
    good = by_row(0.9, 0.8, 0.9, 0.7, 0.9, 0.8, 0.9, 0.6)
    same = by_row(*[0.5] * 8)
    weak = by_row(0.1, 0.2, 0.1, 0.3, 0.1, 0.2, 0.1, 0.4)
    assert survivors([weak, good, same, weak], to_beat) == [1]
    assert survivors([weak, same], to_beat) == [1]
    assert survivors([weak], to_beat) == []
    assert survivors([same, same, same], to_beat) == [0, 1]
