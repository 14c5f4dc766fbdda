import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.evaluation.sample_size import (
    SeedSpread,
    are_equal,
    needed_rows,
    needed_rows_or_seeds,
    rounded_up,
)


def flips(gain: float, discordant: float, n: int = 200) -> np.ndarray:
    better, worse = round(n * (discordant + gain) / 2), round(n * (discordant - gain) / 2)
    return np.array([1.0] * better + [-1.0] * worse + [0.0] * (n - better - worse))


@pytest.mark.parametrize(
    ("gain", "discordant", "published"),
    [
        (0.02, 0.1, 1960), (0.02, 0.2, 3923), (0.02, 0.3, 5885),
        (0.03, 0.1, 870), (0.03, 0.2, 1742), (0.03, 0.3, 2614),
        (0.05, 0.1, 312), (0.05, 0.2, 626), (0.05, 0.3, 940),
        (0.1, 0.2, 155), (0.1, 0.3, 234),
        # Unpaired scores of prompts that are right 8 times of 10 differ on 32 % of rows.
        (0.02, 0.32, 6278), (0.05, 0.32, 1004), (0.1, 0.32, 250),
    ],
)  # fmt: skip
def test_the_rows_that_pass_fail_scores_need_are_those_of_power_analysis(
    gain: float, discordant: float, published: int
) -> None:
    assert needed_rows(flips(gain, discordant, n=2000), 0.95, None, 1.0) == pytest.approx(published, abs=2)


def test_equality_needs_a_margin() -> None:
    assert needed_rows(flips(0.0, 0.2), 0.95, None, 1.0) is None
    # Normal approximation of TOST: variance * ((1.645 + 1.282) / margin) ** 2.
    assert needed_rows(flips(0.0, 0.2), 0.95, 0.05, 1.0) == pytest.approx(0.2 * (2.926 / 0.05) ** 2, rel=0.01)


def test_a_stricter_level_needs_more_rows() -> None:
    rows = [needed_rows(flips(0.05, 0.2), level, None, 1.0) or 0 for level in (0.9, 0.95, 0.99)]
    assert rows[0] < rows[1] < rows[2]


def test_without_seeds_rows_alone_are_needed() -> None:
    alone = needed_rows(flips(0.05, 0.2), 0.95, None, 1.0)
    assert needed_rows_or_seeds(flips(0.05, 0.2), 0.95, None, 1.0, SeedSpread(0.0, 1.0, 1)) == (alone, None)


def test_seeds_that_hardly_differ_change_little() -> None:
    alone = needed_rows(flips(0.05, 0.2), 0.95, None, 1.0)
    rows, _ = needed_rows_or_seeds(flips(0.05, 0.2), 0.95, None, 1.0, SeedSpread(1e-9, 4.0, 5))
    assert rows == pytest.approx(alone, rel=0.01)


def test_no_number_of_rows_makes_up_for_seeds_that_differ_more_than_the_effect() -> None:
    spread = SeedSpread(0.04**2, 4.0, 5)
    rows, seeds = needed_rows_or_seeds(flips(0.1, 0.2, n=1000), 0.95, None, 1.0, spread)
    assert rows is None
    # By the normal quantile, (1.96 + 0.84) ** 2 * (0.04 ** 2 * 5 / R + 0.2 / 1000) is 0.1 ** 2 for R = 7.5;
    # by that of Student's t, few seeds need some more.
    assert seeds in (9, 10)


def test_seeds_do_not_help_where_rows_are_too_few() -> None:
    rows, seeds = needed_rows_or_seeds(flips(0.05, 0.2, n=100), 0.95, None, 1.0, SeedSpread(0.005**2, 4.0, 5))
    assert seeds is None
    assert rows is not None
    assert rows > 626


@given(st.floats(0.001, 0.1), st.integers(2, 10))
def test_more_seed_variance_never_needs_fewer_rows(deviation: float, num_seeds: int) -> None:
    needed = [
        needed_rows_or_seeds(
            flips(0.1, 0.2), 0.95, None, 1.0, SeedSpread((times * deviation) ** 2, num_seeds - 1, num_seeds)
        )[0]
        for times in (1, 2)
    ]
    assert (needed[0] or 2**60) <= (needed[1] or 2**60)


def test_estimates_are_shown_to_two_digits() -> None:
    assert [rounded_up(rows) for rows in (7, 88, 626, 3923, 12_345)] == [7, 88, 630, 4000, 13_000]


def test_a_spread_of_rounding_is_none() -> None:
    assert are_equal(np.array([0.1 + 0.2, 0.3]))
    assert not are_equal(np.array([0.3, 0.3001]))
