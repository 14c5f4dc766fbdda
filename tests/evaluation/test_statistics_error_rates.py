"""How often the intervals and verdicts are wrong, counted over simulated test sets."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from tuningfork.evaluation.statistics import difference_pivot, mean_interval, paired_difference

Scores = NDArray[np.float64]
SIMULATIONS = 600


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def correlated_chrf(rng: np.random.Generator, n: int, gain: float = 0.0) -> tuple[Scores, Scores]:
    difficulty = rng.beta(1, 1.5, n) * 100
    ours, theirs = (np.clip(difficulty + rng.normal(shift, 12, n), 0, 100) for shift in (gain, 0.0))
    return ours, theirs


def mostly_equal(rng: np.random.Generator, n: int) -> tuple[Scores, Scores]:
    ours = rng.beta(1, 1.5, n) * 100
    return ours, np.where(rng.random(n) < 0.3, rng.beta(1, 1.5, n) * 100, ours)


def pass_fail(rng: np.random.Generator, n: int, gain: float = 0.0) -> tuple[Scores, Scores]:
    chance = rng.beta(2, 1, n) * (1 - gain)
    ours = rng.random(n) < chance + gain
    return ours.astype(float), (rng.random(n) < chance).astype(float)


@pytest.mark.parametrize("n", [8, 20, 60])
@pytest.mark.parametrize(
    ("draw", "mean"),
    [
        (lambda rng, n: rng.normal(size=n), 0.0),
        (lambda rng, n: rng.beta(1, 2, n), 1 / 3),
        (lambda rng, n: rng.normal(size=n) * (rng.random(n) < 0.3) + 1e-9 * rng.random(n), 0.0),
    ],
    ids=["normal", "beta", "mostly zero"],
)
def test_the_interval_of_a_mean_covers_it(
    draw: Callable[[np.random.Generator, int], Scores], mean: float, n: int
) -> None:
    rng = generator(11)
    covered = sum(mean in mean_interval(draw(rng, n), rng=rng) for _ in range(SIMULATIONS))
    assert 0.92 <= covered / SIMULATIONS <= 0.995


@pytest.mark.parametrize("n", [20, 60])
def test_equal_prompts_are_called_different_in_about_one_of_twenty_comparisons(n: int) -> None:
    rng = generator(12)
    verdicts = [paired_difference(*correlated_chrf(rng, n), rng=rng).verdict for _ in range(SIMULATIONS)]
    share = 1 - verdicts.count("not enough data") / SIMULATIONS
    assert 0.03 <= share <= 0.08


@pytest.mark.parametrize("n", [3, 8, 20, 60])
@pytest.mark.parametrize("draw", [mostly_equal, pass_fail])
def test_equal_prompts_are_never_called_different_too_often(
    draw: Callable[[np.random.Generator, int], tuple[Scores, Scores]], n: int
) -> None:
    rng = generator(13)
    found = [paired_difference(*draw(rng, n), rng=rng) for _ in range(SIMULATIONS // 2)]
    assert sum(difference.verdict != "not enough data" for difference in found) / len(found) <= 0.08


@pytest.mark.parametrize("n", [20, 60])
def test_the_interval_of_a_real_difference_covers_it(n: int) -> None:
    rng = generator(14)
    gain = 0.2
    ours, theirs = pass_fail(generator(15), 400_000, gain)
    true_gain = float((ours - theirs).mean())
    covered = sum(
        true_gain in paired_difference(*pass_fail(rng, n, gain), rng=rng).interval
        for _ in range(SIMULATIONS // 2)
    )
    assert covered / (SIMULATIONS // 2) >= 0.93


def test_needed_n_rows_decide_four_times_out_of_five() -> None:
    rng = generator(21)
    pilot = paired_difference(*correlated_chrf(rng, 100_000, gain=6.0), rng=rng)
    assert pilot.needed_n is not None
    verdicts = [
        paired_difference(*correlated_chrf(rng, pilot.needed_n, gain=6.0), rng=rng).verdict
        for _ in range(200)
    ]
    assert 0.7 <= verdicts.count("better") / 200 <= 0.9


def test_needed_n_rows_show_equivalence_four_times_out_of_five() -> None:
    rng = generator(22)
    pilot = paired_difference(*correlated_chrf(rng, 100_000), margin=5.0, rng=rng)
    assert pilot.needed_n is not None
    verdicts = [
        paired_difference(*correlated_chrf(rng, pilot.needed_n), margin=5.0, rng=rng).verdict
        for _ in range(200)
    ]
    assert 0.7 <= verdicts.count("equivalent") / 200 <= 0.92


def flips(rng: np.random.Generator, n: int, discordant: float, gain: float = 0.0) -> tuple[Scores, Scores]:
    drawn = rng.random(n)
    wins = drawn < (discordant + gain) / 2
    return wins.astype(float), ((drawn < discordant) & ~wins).astype(float)


def exact_false_alarms(n: int, discordant: float) -> float:
    """The chance that equal prompts are called different, summed over all tables of wins and losses."""
    total = 0.0
    for count in range(1, n + 1):
        chance = stats.binom.pmf(count, n, discordant)
        if chance < 1e-7:
            continue
        # p falls as wins rise above one half; the first table that is called different bounds a tail.
        low, high = (count + 1) // 2, count + 1
        while low < high:
            wins = (low + high) // 2
            table = np.repeat([1.0, -1.0, 0.0], [wins, count - wins, n - count])
            pivot = difference_pivot(table, True, 1.0, generator())
            low, high = (low, wins) if pivot.p_value(0.0) < 0.05 else (wins + 1, high)
        total += chance * 2 * stats.binom.sf(low - 1, count, 0.5)
    return total


@pytest.mark.parametrize("discordant", [0.1, 0.2, 0.3])
@pytest.mark.parametrize("n", [100, 300])
def test_the_exact_rate_of_false_alarms_of_pass_fail_is_4_to_6_percent(n: int, discordant: float) -> None:
    assert 0.04 <= exact_false_alarms(n, discordant) <= 0.06


@pytest.mark.slow
@pytest.mark.parametrize("discordant", [0.1, 0.2, 0.3])
@pytest.mark.parametrize("n", [200, 500, 1000])
def test_the_exact_rate_stays_so_for_more_rows(n: int, discordant: float) -> None:
    assert 0.045 <= exact_false_alarms(n, discordant) <= 0.055


@pytest.mark.parametrize("n", [*range(2, 13), 16, 17, 25, 41])
@pytest.mark.parametrize("discordant", [0.1, 0.5, 0.9, 1.0])
def test_no_table_of_few_rows_raises_more_than_6_percent(n: int, discordant: float) -> None:
    assert exact_false_alarms(n, discordant) <= 0.06


@pytest.mark.parametrize("simulations", [400, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("n", "gain", "low", "high"), [(1000, 0.05, 0.9, 1.0), (100, 0.05, 0.0, 0.3), (1000, 0.0, 0.04, 0.06)]
)
def test_a_gain_of_5_points_is_found_with_1000_rows_and_not_with_100(
    n: int, gain: float, low: float, high: float, simulations: int
) -> None:
    rng = generator(16)
    found = [paired_difference(*flips(rng, n, 0.2, gain), rng=rng) for _ in range(simulations)]
    share = sum(one.verdict in (("better",) if gain else ("better", "worse")) for one in found) / simulations
    # Binomial bounds that one simulation in a thousand breaks by chance.
    chance = stats.binom.ppf([0.001, 0.999], simulations, [low, high]) / simulations
    assert chance[0] <= share <= chance[1]
    undecided = [one for one in found if one.verdict == "not enough data"]
    if gain and n == 100:
        assert len(undecided) > 0.65 * simulations
        assert all(one.needed_n is None or one.needed_n > n for one in undecided)
        assert 300 < np.median([one.needed_n for one in undecided if one.needed_n]) < 1300


@pytest.mark.slow
@pytest.mark.parametrize(("looks", "published"), [(5, 0.137), (10, 0.187), (30, 0.278)])
def test_looking_again_and_again_raises_false_alarms_as_published(looks: int, published: float) -> None:
    rng, alarms = generator(17), 0
    for _ in range(400):
        ours, theirs = flips(rng, 900, 0.3)
        sizes = [900 * look // looks for look in range(1, looks + 1)]
        alarms += any(paired_difference(ours[:n], theirs[:n], rng=rng).p < 0.05 for n in sizes)
    assert alarms / 400 == pytest.approx(published, abs=0.055)
