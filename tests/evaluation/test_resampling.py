import numpy as np
import pytest
from scipy import stats

from tuningfork.evaluation.pivots import t_quantile
from tuningfork.evaluation.resampling import MOST_ROWS_TO_RESAMPLE, resampled_rows, resampled_rows_and_seeds


def test_the_bootstrap_over_rows_is_scipy_s_bca() -> None:
    values = np.random.default_rng(3).exponential(size=40)
    found = resampled_rows(values, np.random.default_rng(0)).interval(0.95)
    z = t_quantile(0.95, 39) * np.sqrt(40 / 39)
    expected = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=40_000,
        confidence_level=1 - 2 * stats.norm.sf(z),
        method="BCa",
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.025)
    plain = stats.bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(1))
    assert abs(found.high - plain.confidence_interval.high) > 0.025


def test_ties_with_the_mean_count_half() -> None:
    symmetric = np.array([-1.0, 1.0] * 10)
    assert abs(resampled_rows(symmetric, np.random.default_rng(0)).bias) < 0.05


def test_the_largest_number_of_rows_is_all_drawn_from() -> None:
    values = np.zeros(MOST_ROWS_TO_RESAMPLE)
    values[-1] = 1.0
    assert resampled_rows(values, np.random.default_rng(0)).resamples.max() > 0


def test_rows_and_seeds_vary_as_they_do_by_themselves_and_together() -> None:
    rng = np.random.default_rng(5)
    rows, seeds = rng.normal(size=50), rng.normal(size=(4, 1))

    def spread(*sides: np.ndarray) -> float:
        drawn = resampled_rows_and_seeds(
            sides, variance=1.0, freedom=9.0, skewness=0.0, rng=np.random.default_rng(0)
        )
        return float(drawn.resamples.var())

    assert spread(np.tile(rows, (4, 1))) == pytest.approx(rows.var() / 50, rel=0.06)
    assert spread(np.tile(seeds, (1, 50))) == pytest.approx(seeds.var() / 4, rel=0.06)
    assert spread(rows + seeds) == pytest.approx(rows.var() / 50 + seeds.var() / 4, rel=0.06)
    # Both sides are drawn on the same rows, so what rows share goes away; their seeds do not.
    assert spread(rows + seeds, rows[np.newaxis]) == pytest.approx(seeds.var() / 4, rel=0.06)
    assert spread(rows + seeds, rows + 2 * seeds) == pytest.approx(5 * seeds.var() / 4, rel=0.06)


def test_the_mean_is_that_of_the_scores_and_the_spread_the_one_given() -> None:
    rng = np.random.default_rng(6)
    ours, theirs = rng.normal(0.5, 1, (5, 200)), rng.normal(0, 1, (1, 200))
    found = resampled_rows_and_seeds([ours, theirs], variance=0.01, freedom=30.0, skewness=0.0, rng=rng)
    assert found.mean == pytest.approx(ours.mean() - theirs.mean())
    interval = found.interval(0.95)
    half = t_quantile(0.95, 30) * 0.1
    ends = found.mean - half, found.mean + half
    assert (interval.low, interval.high) == pytest.approx(ends, abs=0.02)
