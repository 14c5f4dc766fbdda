"""How often the intervals and verdicts are wrong, counted over simulated test sets."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from tuningfork.evaluation.statistics import mean_interval, paired_difference

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
