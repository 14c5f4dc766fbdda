import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from tuningfork.evaluation.pivots import Interval
from tuningfork.evaluation.statistics import mean_interval, paired_difference, wilson_interval
from tuningfork.evaluation.two_level import SeedsDifference, seeds_difference, seeds_mean

Scores = NDArray[np.float64]


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def trainings(
    rng: np.random.Generator, difficulty: Scores, seeds: int, seed_spread: float, gain: float = 0.0
) -> Scores:
    """Pass/fail scores (R, N) whose rows and seeds vary, and rows within a seed."""
    own = difficulty + 0.5 * rng.normal(size=len(difficulty)) + gain
    effects = seed_spread * rng.normal(size=(seeds, 1))
    noise = 0.7 * rng.normal(size=(seeds, len(difficulty)))
    return np.asarray(own + effects + noise > 0, dtype=np.float64)


def compare(candidate: object, baseline: object, **arguments: object) -> SeedsDifference:
    return seeds_difference(candidate, baseline, rng=generator(), **arguments)  # type: ignore[arg-type]


def false_alarms(
    rng: np.random.Generator, n: int, seeds: tuple[int, int], seed_spread: float, simulations: int
) -> tuple[float, float]:
    """How often equal methods are called different, over rows and seeds and over rows alone."""
    method = artefact = 0
    for _ in range(simulations):
        difficulty = 1.2 * rng.normal(size=n)
        one = trainings(rng, difficulty, seeds[0], seed_spread)
        other = trainings(rng, difficulty, seeds[1], seed_spread)
        found = seeds_difference(one, other, rng=rng)
        method += found.p < 0.05
        artefact += 0.0 not in found.artefact_interval(0.95)
    return method / simulations, artefact / simulations


def test_one_training_of_each_is_the_paired_difference() -> None:
    rng = generator(1)
    for ours, theirs in (rng.random((2, 30)), (rng.random((2, 30)) < 0.6).astype(float)):
        found, expected = compare([ours], [theirs]), paired_difference(ours, theirs, rng=generator())
        assert found.interval(0.95) == expected.interval
        assert found.p == expected.p
        assert found.covers == "artefact"
        assert found.verdict(margin=None, level=0.95) == expected.verdict
        assert found.needed(margin=None, level=0.95)[1] is None


def test_seeds_of_one_side_make_the_interval_cover_the_method() -> None:
    rng = generator(2)
    difficulty = rng.normal(size=100)
    tuned, text = trainings(rng, difficulty, 5, 0.4), trainings(rng, difficulty, 1, 0.0)
    found = compare(tuned, text)
    assert found.covers == "method"
    assert found.interval(0.95).width > 1.2 * found.artefact_interval(0.95).width
    assert found.mean == pytest.approx(tuned.mean() - text.mean())
    turned = compare(text, tuned)
    assert turned.interval(0.95).low == pytest.approx(-found.interval(0.95).high, abs=0.02)


def test_few_seeds_that_differ_much_are_known_by_student_s_t() -> None:
    effects = np.array([0.1, 0.3, 0.2, 0.4, 0.25])
    rows = 0.01 * generator(3).normal(size=400)
    found = compare(effects[:, np.newaxis] + rows, rows[np.newaxis] * 0).interval(0.95)
    half = 2.776 * effects.std(ddof=1) / math.sqrt(5)
    assert (found.low, found.high) == pytest.approx((0.25 - half, 0.25 + half), abs=0.003)


def test_rows_that_change_with_the_seed_are_not_counted_twice() -> None:
    # Without effects of seeds, the mean over R seeds of pure noise varies with 1 / (R N), which 5 seeds show
    # with 4 degrees of freedom; a standard deviation of 5 is 6 % too small on average.
    rng = generator(4)
    widths = [compare(rng.normal(size=(5, 50)), np.zeros((1, 50))).interval(0.95).width for _ in range(100)]
    assert np.mean(widths) == pytest.approx(2 * 2.776 * 0.94 / math.sqrt(250), rel=0.15)


def test_variance_is_put_together_from_mean_squares() -> None:
    # More rows than are resampled, so that Student's interval alone is left.
    rng, n, count = generator(4), 2500, 4
    ours = rng.normal(size=(count, n)) + 0.05 * rng.normal(size=(count, 1)) + 0.5 * rng.normal(size=n)
    seeds, rows = ours.mean(axis=1, keepdims=True), ours.mean(axis=0)
    rest = ours - seeds - rows + ours.mean()
    of_seeds = n * seeds.var(ddof=1)
    of_rows, of_rest = count * rows.var(ddof=1), (rest**2).sum() / ((count - 1) * (n - 1))
    parts = np.array([of_seeds, of_rows - of_rest]) / (count * n)
    freedom = parts.sum() ** 2 / (parts**2 / np.array([count - 1, n - 1])).sum()
    half = stats.t.ppf(0.975, freedom) * math.sqrt(parts.sum())
    found = compare(ours, np.zeros((1, n)))
    assert found.interval(0.95).width == pytest.approx(2 * half)
    assert found.seeds is not None
    # What lasts, however many rows there are.
    assert found.seeds.variance == pytest.approx((of_seeds - of_rest) / (count * n))
    assert found.seeds.freedom == pytest.approx(count - 1)


def test_seeds_that_agree_add_nothing() -> None:
    row = (generator(5).random(40) < 0.7).astype(float)
    other = (generator(6).random(40) < 0.7).astype(float)
    found = compare(np.tile(row, (5, 1)), [other])
    assert found.covers == "method"
    assert found.interval(0.95) == compare([row], [other]).interval(0.95)
    mean = seeds_mean(np.tile(row, (5, 1)), rng=generator())
    assert mean.interval == wilson_interval(int(row.sum()), 40)
    assert mean.covers == "method"


def test_a_mean_over_seeds_is_wider_than_over_rows() -> None:
    rng = generator(7)
    scores = trainings(rng, rng.normal(size=80), 5, 0.5)
    found = seeds_mean(scores, bounds=(0, 1), rng=generator())
    rows = mean_interval(scores.mean(axis=0), bounds=(0, 1), rng=generator())
    assert found.interval.low < rows.low
    assert rows.high < found.interval.high
    assert found.mean == pytest.approx(scores.mean())
    alone = seeds_mean(scores[:1], bounds=(0, 1), rng=generator())
    assert (alone.covers, alone.interval) == ("artefact", wilson_interval(int(scores[0].sum()), 80))


def test_one_row_is_never_enough() -> None:
    found = compare([[3.0], [4.0], [5.0]], [[1.0]])
    assert found.interval(0.95) == Interval(-math.inf, math.inf, 0.95)
    assert found.p == 1.0
    assert compare([[3.0], [4.0]], [[1.0]], bounds=(0, 10)).interval(0.95) == Interval(-10, 10, 0.95)
    assert seeds_mean([[0.3], [0.5]], bounds=(0, 1), rng=generator()).interval == Interval(0, 1, 0.95)


def test_a_margin_shows_equivalence_only_if_seeds_allow_it() -> None:
    rng = generator(8)
    rows = rng.normal(size=(1, 2000))
    noise = 0.1 * rng.normal(size=(5, 2000))
    steady, shaky = rows + noise, rows + noise + np.array([[-0.2], [0.2], [0.0], [0.1], [-0.1]])
    assert compare(steady, rows).verdict(margin=0.05, level=0.95) == "equivalent"
    assert compare(shaky, rows).verdict(margin=0.05, level=0.95) == "not enough data"
    assert compare(steady, rows).equivalence_p(0.05) < 0.05 < compare(shaky, rows).equivalence_p(0.05)
    rows_needed, seeds_needed = compare(shaky, rows).needed(margin=0.05, level=0.95)
    assert rows_needed is None
    assert seeds_needed is None or seeds_needed > 20


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_a_gain_of_every_seed_is_found(higher_is_better: bool) -> None:
    rng = generator(9)
    difficulty = rng.normal(size=200)
    found = compare(trainings(rng, difficulty, 5, 0.1, gain=0.8), trainings(rng, difficulty, 1, 0.1))
    verdict = found.verdict(margin=None, level=0.95, higher_is_better=higher_is_better)
    assert verdict == ("better" if higher_is_better else "worse")


matrices = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        *(
            st.lists(st.lists(st.floats(0, 1), min_size=n, max_size=n), min_size=1, max_size=4)
            for _ in range(2)
        )
    )
)


@given(matrices, st.sampled_from([0.9, 0.95]))
@settings(deadline=None, max_examples=60)
def test_any_scores_have_an_interval_that_agrees_with_its_p(
    sides: tuple[list[list[float]], list[list[float]]], level: float
) -> None:
    found = compare(*sides, bounds=(0.0, 1.0))
    interval, inner = found.interval(level), found.artefact_interval(level)
    assert -1 <= interval.low <= inner.low <= found.mean + 1e-12
    assert found.mean - 1e-12 <= inner.high <= interval.high <= 1
    assert 0 <= found.p <= 1
    if min(abs(interval.low), abs(interval.high)) > 1e-9:
        assert (0.0 not in interval) == (found.p < 1 - level)
    rows, seeds = found.needed(margin=None, level=level)
    assert rows is None or rows >= 1
    assert seeds is None or seeds > max(map(len, sides))


@pytest.mark.parametrize(
    ("candidate", "baseline", "bounds", "message"),
    [
        ([[1.0, 0.0]], [[1.0]], None, "paired scores need the same rows, found 2 and 1"),
        ([1.0, 0.0], [[1.0, 0.0]], None, r"a matrix of seeds by rows, found shape \(2,\)"),
        ([[]], [[]], None, r"found shape \(1, 0\)"),
        ([[1.0, 0.0], [1.0, math.nan]], [[1.0, 0.0]], None, "the score of seed 1 on row 1 is nan"),
        ([[1.0, 2.0]], [[1.0, 0.0]], (0.0, 1.0), r"scores must lie in 0\.0\.\.1\.0, found 0\.\.2"),
    ],
)
def test_unusable_scores_are_refused(
    candidate: object, baseline: object, bounds: tuple[float, float] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        compare(candidate, baseline, bounds=bounds)


@pytest.mark.parametrize("seeds", [(5, 5), (5, 1)])
def test_equal_methods_are_called_different_in_about_one_of_twenty_comparisons(
    seeds: tuple[int, int],
) -> None:
    spread = 0.3 if seeds[1] > 1 else 0.0
    method, artefact = false_alarms(generator(10), 60, seeds, spread, 400)
    assert method <= 0.08
    # Seeds that differ are evidence for chance, which rows alone do not see.
    assert artefact > 0.15 if spread else artefact <= 0.08


@pytest.mark.slow
@pytest.mark.parametrize("n", [60, 200])
@pytest.mark.parametrize("seed_spread", [0.1, 0.3])
def test_false_alarms_over_rows_and_seeds_are_those_of_the_level(n: int, seed_spread: float) -> None:
    simulations = 1500
    method, artefact = false_alarms(generator(11), n, (5, 5), seed_spread, simulations)
    # What binomial chance makes of 3.5 to 5.5 % once in a thousand times.
    low, high = stats.binom.ppf([0.001, 0.999], simulations, [0.035, 0.055]) / simulations
    assert low <= method <= high
    assert artefact > method
