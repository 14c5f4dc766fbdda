import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from tuningfork.evaluation.statistics import (
    Interval,
    PairedDifference,
    mean_interval,
    paired_difference,
    seed_band,
    wilson_interval,
)

Scores = NDArray[np.float64]
SIMULATIONS = 600


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def compare(candidate: object, baseline: object, **arguments: object) -> PairedDifference:
    return paired_difference(candidate, baseline, rng=generator(), **arguments)  # type: ignore[arg-type]


def correlated_chrf(rng: np.random.Generator, n: int, gain: float = 0.0) -> tuple[Scores, Scores]:
    difficulty = rng.beta(1, 1.5, n) * 100
    ours, theirs = (np.clip(difficulty + rng.normal(shift, 12, n), 0, 100) for shift in (gain, 0.0))
    return ours, theirs


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # Newcombe (1998), Statistics in Medicine 17:857-872, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_numbers(successes: int, n: int, low: float, high: float) -> None:
    interval = wilson_interval(successes, n)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


@given(
    st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999)
)
def test_wilson_equals_scipy(counts: tuple[int, int], level: float) -> None:
    successes, n = counts
    expected = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    interval = wilson_interval(successes, n, level)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert successes / n in interval
    assert 0 <= interval.low < interval.high <= 1


def test_wilson_without_trials_knows_nothing() -> None:
    assert wilson_interval(0, 0) == Interval(0.0, 1.0, 0.95)


@pytest.mark.parametrize("successes", [-1, 4])
def test_wilson_rejects_impossible_counts(successes: int) -> None:
    with pytest.raises(ValueError, match=rf"successes must lie in 0\.\.3, found {successes}"):
        wilson_interval(successes, 3)


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0, math.nan])
def test_a_level_is_between_0_and_1(level: float) -> None:
    with pytest.raises(ValueError, match="a confidence level lies between 0 and 1"):
        wilson_interval(1, 3, level)


def test_pass_fail_scores_get_wilson() -> None:
    assert mean_interval([1, 0, 1, 1], rng=generator()) == wilson_interval(3, 4)
    assert mean_interval([1], rng=generator(), bounds=(0, 1)) == wilson_interval(1, 1)


def test_zeros_of_a_wider_metric_are_not_pass_fail() -> None:
    interval = mean_interval([0.0] * 20, bounds=(0, 100), rng=generator())
    assert interval.low == 0
    assert interval.high == pytest.approx(100 * (1 - 0.025 ** (1 / 20)))


def test_equal_scores_have_an_interval_of_some_width() -> None:
    interval = mean_interval([30.0] * 10, bounds=(0, 100), rng=generator())
    share = 1 - 0.025**0.1
    assert (interval.low, interval.high) == pytest.approx((30 - share * 30, 30 + share * 70))
    assert mean_interval([30.0] * 10, rng=generator()) == Interval(-math.inf, math.inf, 0.95)


def test_one_score_leaves_the_whole_range() -> None:
    assert mean_interval([30.0], bounds=(0, 100), rng=generator()) == Interval(0, 100, 0.95)
    assert mean_interval([30.0], rng=generator()) == Interval(-math.inf, math.inf, 0.95)


@pytest.mark.parametrize(
    ("scores", "bounds", "message"),
    [
        ([], None, "at least one number"),
        ([[1.0], [2.0]], None, r"found shape \(2, 1\)"),
        ([1.0, math.nan], None, "score 1 is nan, not a finite number"),
        ([1.0, math.inf], None, "score 1 is inf"),
        ([0.5, 1.5], (0.0, 1.0), r"scores must lie in 0\.0\.\.1\.0, found 0\.5\.\.1\.5"),
        ([0.5], (1.0, 1.0), "the lower bound of a score must be below the upper one"),
    ],
)
def test_unusable_scores_are_refused(
    scores: list[float], bounds: tuple[float, float] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        mean_interval(scores, bounds=bounds, rng=generator())


def test_the_same_generator_gives_the_same_interval() -> None:
    scores = generator(5).normal(size=30)
    assert mean_interval(scores, rng=generator(1)) == mean_interval(scores, rng=generator(1))


def test_many_scores_take_no_bootstrap_and_agree_with_it() -> None:
    scores = generator(5).gamma(2.0, size=2001)
    fast, resampled = mean_interval(scores, rng=generator()), mean_interval(scores[:2000], rng=generator())
    assert (fast.low, fast.high) == pytest.approx((resampled.low, resampled.high), abs=0.01)


def test_a_clear_gain_is_found() -> None:
    better = compare(*correlated_chrf(generator(1), 40, gain=20.0), bounds=(0, 100))
    assert better.verdict == "better"
    assert better.interval.low > 0
    worse = compare(*correlated_chrf(generator(1), 40, gain=-20.0), bounds=(0, 100))
    assert worse.verdict == "worse"


def test_a_lower_score_can_be_the_better_one() -> None:
    ours, theirs = correlated_chrf(generator(1), 40, gain=-20.0)
    loss = compare(ours, theirs, higher_is_better=False)
    assert loss.verdict == "better"
    assert loss.mean < 0
    assert loss.flips_better == np.flatnonzero(ours < theirs).tolist()


def test_flips_are_the_rows_that_changed() -> None:
    difference = compare([1, 0, 1, 0, 1], [0, 0, 1, 1, 0])
    assert difference.flips_better == [0, 4]
    assert difference.flips_worse == [3]
    assert difference.mean == pytest.approx(0.2)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
@settings(deadline=None, max_examples=60)
def test_mcnemar_is_exact_and_never_contradicts_the_verdict(rows: list[tuple[bool, bool]]) -> None:
    candidate, baseline = zip(*rows, strict=True)
    difference = compare(np.array(candidate, float), np.array(baseline, float))
    better, worse = len(difference.flips_better), len(difference.flips_worse)
    expected = stats.binomtest(better, better + worse, 0.5).pvalue if better + worse else 1.0
    assert difference.mcnemar_p == pytest.approx(expected)
    if expected > 0.05:
        assert difference.verdict == "not enough data"
    assert difference.interval.low <= difference.mean <= difference.interval.high
    assert -1 <= difference.interval.low < difference.interval.high <= 1


@pytest.mark.parametrize(("n", "verdict"), [(5, "not enough data"), (6, "better"), (8, "better")])
def test_always_winning_is_judged_as_by_mcnemar(n: int, verdict: str) -> None:
    difference = compare([1] * n, [0] * n)
    assert difference.verdict == verdict
    assert difference.mcnemar_p == pytest.approx(2 * 0.5**n)
    assert difference.needed_n == 6


def test_graded_scores_have_no_mcnemar() -> None:
    assert compare([0.5, 1.0], [0.0, 1.0]).mcnemar_p is None


@pytest.mark.parametrize("n", [2, 8, 20])
def test_ties_have_the_interval_of_what_was_not_seen(n: int) -> None:
    same = [1.0, 0.0] * (n // 2)
    difference = compare(same, same)
    share = 1 - 0.025 ** (1 / n)
    assert (difference.interval.low, difference.interval.high) == pytest.approx((-share, share))
    assert difference.verdict == "not enough data"
    assert difference.mcnemar_p == 1.0
    assert difference.needed_n is None


def test_ties_of_graded_scores_use_the_bounds_or_the_range_seen() -> None:
    scores = [20.0, 30.0, 60.0, 45.0]
    share = 1 - 0.025**0.25
    assert compare(scores, scores).interval.high == pytest.approx(40 * share)
    assert compare(scores, scores, bounds=(0, 100)).interval.high == pytest.approx(100 * share)
    assert compare([37.0] * 4, [37.0] * 4).interval.high == pytest.approx(37 * share)


def test_enough_ties_are_equivalent() -> None:
    same = [1.0, 0.0] * 100
    difference = compare(same, same, margin=0.02)
    assert difference.equivalence_interval.level == pytest.approx(0.9)
    assert difference.equivalence_interval.high == pytest.approx(1 - 0.05 ** (1 / 200))
    assert difference.verdict == "equivalent"
    assert compare(same[:100], same[:100], margin=0.02).verdict == "not enough data"


@pytest.mark.parametrize("gain", [0.0, 0.05])
def test_needed_n_ties_are_just_enough_for_equivalence(gain: float) -> None:
    needed = compare([0.5 + gain] * 10, [0.5] * 10, bounds=(0, 1), margin=0.1).needed_n
    assert needed is not None
    for n, verdict in ((needed - 1, "not enough data"), (needed, "equivalent")):
        found = compare([0.5 + gain] * n, [0.5] * n, bounds=(0, 1), margin=0.1).verdict
        assert found in (verdict, "better" if gain else verdict)
        assert (found == "equivalent") == (verdict == "equivalent")


def test_a_margin_beyond_the_range_is_met_by_any_two_rows() -> None:
    difference = compare([1, 0], [1, 0], margin=1.5)
    assert difference.verdict == "equivalent"
    assert difference.needed_n == 1


def test_a_difference_of_rounding_error_needs_no_number_of_rows() -> None:
    difference = compare([0.3, 0.7, 0.1 + 0.2], [0.1 + 0.2, 0.7, 0.3])
    assert difference.needed_n is None
    tiny = compare([1e-300, 50.0, 0.0], [0.0, 50.0, 0.0])
    assert tiny.needed_n is None
    assert "more test rows are needed" in tiny.sentence("chrF", ("a", "b"))


def test_equivalence_is_two_one_sided_tests() -> None:
    rng = generator(2)
    ours, theirs = correlated_chrf(rng, 400)
    difference = compare(ours, theirs)
    inner = difference.equivalence_interval
    margin = max(abs(inner.low), abs(inner.high))
    assert inner.width < difference.interval.width
    assert compare(ours, theirs, margin=margin * 1.01).verdict == "equivalent"
    assert compare(ours, theirs, margin=margin * 0.99).verdict != "equivalent"
    gaps = ours - theirs
    for shift, side in ((margin * 1.2, "greater"), (-margin * 1.2, "less")):
        assert stats.ttest_1samp(gaps + shift, 0, alternative=side).pvalue < 0.05


def test_a_difference_smaller_than_the_margin_does_not_matter() -> None:
    ours, theirs = correlated_chrf(generator(1), 400, gain=3.0)
    assert compare(ours, theirs).verdict == "better"
    assert compare(ours, theirs, margin=8.0).verdict == "equivalent"


@pytest.mark.parametrize("margin", [0.0, -1.0, math.inf, math.nan])
def test_a_margin_is_positive(margin: float) -> None:
    with pytest.raises(ValueError, match="the margin must be positive and finite"):
        compare([1.0, 0.0], [0.0, 0.0], margin=margin)


def test_a_comparison_needs_a_level_above_one_half() -> None:
    with pytest.raises(ValueError, match=r"the level of a comparison must be above 0\.5, found 0\.4"):
        compare([1.0, 0.0], [0.0, 0.0], level=0.4)


def test_rows_must_be_paired() -> None:
    with pytest.raises(ValueError, match="paired scores need the same rows, found 3 and 2"):
        compare([1, 0, 1], [1, 0])


def test_one_row_is_never_enough() -> None:
    graded = compare([40.0], [10.0])
    assert graded.verdict == "not enough data"
    assert graded.interval == Interval(-math.inf, math.inf, 0.95)
    assert graded.needed_n is None
    assert "more test rows are needed" in graded.sentence("chrF", ("a", "b"))
    bounded = compare([40.0], [10.0], bounds=(0, 100))
    assert (bounded.interval.low, bounded.interval.high) == (-100, 100)
    assert bounded.verdict == "not enough data"


@pytest.mark.parametrize(
    ("gain", "discordant", "published"),
    [(0.02, 0.1, 1960), (0.02, 0.2, 3923), (0.03, 0.3, 2614), (0.05, 0.2, 626), (0.1, 0.3, 234)],
)
def test_needed_n_is_that_of_a_power_analysis_of_mcnemar(
    gain: float, discordant: float, published: int
) -> None:
    n = 200
    better, worse = round(n * (discordant + gain) / 2), round(n * (discordant - gain) / 2)
    gaps = np.array([1] * better + [-1] * worse + [0] * (n - better - worse))
    assert compare(gaps > 0, gaps < 0).needed_n == published


def test_more_rows_than_there_are_is_what_not_enough_means() -> None:
    rng = generator(23)
    for _ in range(100):
        difference = paired_difference(*correlated_chrf(rng, 8, gain=15.0), rng=rng)
        assert difference.needed_n is not None
        if difference.verdict == "not enough data":
            assert difference.needed_n > 8


paired_scores = st.lists(
    st.tuples(st.floats(0, 100, allow_subnormal=False), st.floats(0, 100, allow_subnormal=False)),
    min_size=1,
    max_size=25,
)


@given(paired_scores, st.sampled_from([None, (0.0, 100.0)]))
@settings(deadline=None, max_examples=60)
def test_intervals_hold_their_mean_and_have_a_width(
    rows: list[tuple[float, float]], bounds: tuple[float, float] | None
) -> None:
    ours, theirs = (np.array(scores) for scores in zip(*rows, strict=True))
    difference = compare(ours, theirs, bounds=bounds)
    for interval in (difference.interval, difference.equivalence_interval):
        assert interval.low <= difference.mean <= interval.high
        assert not math.isnan(interval.width)
        assert interval.width > 0 or not np.any([ours, theirs])
        if bounds is not None:
            assert interval.low >= -100
            assert interval.high <= 100
    if difference.verdict in ("better", "worse"):
        assert 0 not in difference.interval
        assert (difference.mean > 0) == (difference.verdict == "better")


@given(
    st.one_of(
        paired_scores, st.lists(st.tuples(*[st.sampled_from([0.0, 1.0])] * 2), min_size=1, max_size=25)
    ),
    st.sampled_from([0.9, 0.95]),
    st.sampled_from([0.05, 0.5, 20.0]),
)
@settings(deadline=None, max_examples=100)
def test_p_values_agree_with_intervals_and_verdicts(
    rows: list[tuple[float, float]], level: float, margin: float
) -> None:
    ours, theirs = (np.array(scores) for scores in zip(*rows, strict=True))
    difference = compare(ours, theirs, bounds=None, level=level, margin=margin)
    interval, inner = difference.interval, difference.equivalence_interval
    assert 0 <= difference.p <= 1
    assert difference.equivalence_p is not None
    if min(abs(interval.low), abs(interval.high)) > 1e-9:
        assert (0.0 not in interval) == (difference.p < 1 - level)
    if min(abs(abs(end) - margin) for end in (inner.low, inner.high)) > 1e-9:
        assert (difference.verdict == "equivalent") == (difference.equivalence_p < 1 - level)
    assert compare(ours, theirs).equivalence_p is None


def test_the_exact_test_is_reported_beside_the_mid_p_one() -> None:
    # 9 wins and 2 losses: exact 0.065, mid-p 0.039; Tango's interval excludes zero as well.
    gaps = np.array([1] * 9 + [-1] * 2 + [0] * 89)
    difference = compare(gaps > 0, gaps < 0)
    assert difference.mcnemar_p == pytest.approx(stats.binomtest(2, 11).pvalue)
    assert (difference.mcnemar_p or 0.0) > 0.05
    assert difference.p == pytest.approx(
        stats.binomtest(2, 11).pvalue - stats.binom.pmf(2, 11, 0.5), abs=1e-9
    )
    assert difference.verdict == "better"


@given(paired_scores)
@settings(deadline=None, max_examples=60)
def test_swapping_the_prompts_turns_everything_round(rows: list[tuple[float, float]]) -> None:
    ours, theirs = (np.array(scores) for scores in zip(*rows, strict=True))
    one, other = compare(ours, theirs, bounds=(0, 100)), compare(theirs, ours, bounds=(0, 100))
    assert one.mean == pytest.approx(-other.mean)
    assert (one.interval.low, one.interval.high) == pytest.approx(
        (-other.interval.high, -other.interval.low), abs=1e-6
    )
    assert (one.flips_better, one.flips_worse) == (other.flips_worse, other.flips_better)
    turned = {"better": "worse", "worse": "better"}
    assert one.verdict == turned.get(other.verdict, other.verdict)
    assert one.needed_n == other.needed_n


def example(**changes: object) -> PairedDifference:
    fields: dict[str, object] = {
        "n": 20,
        "mean": 13.1,
        "interval": Interval(4.0, 22.7, 0.95),
        "equivalence_interval": Interval(5.5, 21.0, 0.9),
        "margin": None,
        "mcnemar_p": None,
        "flips_better": [],
        "flips_worse": [],
        "verdict": "better",
        "needed_n": 18,
    }
    return PairedDifference(**(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("difference", "expected"),
    [
        (
            example(),
            "Tuned is better than the text prompt: +13.1 chrF, 95 % interval [+4.0, +22.7], n = 20.",
        ),
        (
            example(mean=-0.021, interval=Interval(-0.038, -0.004, 0.95), verdict="worse"),
            "Tuned is worse than the text prompt: -0.021 chrF, 95 % interval [-0.038, -0.004], n = 20.",
        ),
        (
            example(
                mean=0.8,
                interval=Interval(-1.5, 3.1, 0.95),
                equivalence_interval=Interval(-1.1, 2.7, 0.9),
                margin=3.0,
                verdict="equivalent",
            ),
            "Tuned and the text prompt are equivalent: +0.8 chrF, 90 % interval [-1.1, +2.7], margin 3, "
            "n = 20.",
        ),
        (
            example(interval=Interval(-2.0, 28.2, 0.95), verdict="not enough data", needed_n=233),
            "Not enough data to tell tuned from the text prompt: +13.1 chrF, 95 % interval [-2.0, +28.2], "
            "n = 20; about 240 test rows would be needed.",
        ),
        (
            example(interval=Interval(-2.0, 28.2, 0.95), verdict="not enough data", needed_n=2_000_000),
            "Not enough data to tell tuned from the text prompt: +13.1 chrF, 95 % interval [-2.0, +28.2], "
            "n = 20; more than a million test rows would be needed.",
        ),
        (
            example(
                mean=-1e-17, interval=Interval(-0.16, 0.16, 0.95), verdict="not enough data", needed_n=12_345
            ),
            "Not enough data to tell tuned from the text prompt: +0.000 chrF, 95 % interval "
            "[-0.160, +0.160], n = 20; about 13,000 test rows would be needed.",
        ),
        (
            example(mean=0.0, interval=Interval(-2.0, 2.0, 0.95), verdict="not enough data", needed_n=None),
            "Not enough data to tell tuned from the text prompt: +0.0 chrF, 95 % interval [-2.0, +2.0], "
            "n = 20; no number of test rows can show that there is no difference: set a margin.",
        ),
    ],
)
def test_the_verdict_as_a_sentence(difference: PairedDifference, expected: str) -> None:
    assert difference.sentence("chrF", ("tuned", "the text prompt")) == expected


def test_a_band_over_seeds() -> None:
    values = [0.81, 0.86, 0.84, 0.90, 0.83]
    band = seed_band(values)
    assert (band.n, band.minimum, band.median, band.maximum) == (5, 0.81, 0.84, 0.90)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert band.interval is not None
    assert (band.interval.low, band.interval.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("values", [[0.8], [0.8, 0.8, 0.8]])
def test_a_band_without_spread_has_no_interval(values: list[float]) -> None:
    assert seed_band(values).interval is None
    assert seed_band(values).minimum == seed_band(values).maximum == 0.8
