"""How often verdicts and intervals are wrong, counted over simulated test sets.

Every simulation calls the functions that users call, on scores drawn anew.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuningfork.evaluation.comparison import TEXT_PROMPT, ContestantRecord, SeedRecord
from tuningfork.evaluation.statistics import PairedDifference, mean_interval, paired_difference
from tuningfork.evaluation.two_level import seeds_difference
from tuningfork.evaluation.verdicts import judge_contestants

Scores = NDArray[np.float64]
Pair = tuple[Scores, Scores]


@dataclass(frozen=True, slots=True)
class Rates:
    """Shares of verdicts, and the rows that were said to be needed."""

    better: float
    worse: float
    not_enough_data: float
    needed_rows: float | None
    """Median where there were not enough."""

    @property
    def different(self) -> float:
        """Share of both tails."""
        return self.better + self.worse


def pass_fail(rng: np.random.Generator, n: int, discordant: float, gain: float = 0.0) -> Pair:
    """Scores that differ on a share of the rows, in favour of the first by `gain`."""
    drawn = rng.random(n)
    wins, losses = drawn < (discordant + gain) / 2, (drawn >= (discordant + gain) / 2) & (drawn < discordant)
    both = (rng.random(n) < 0.7) & (drawn >= discordant)
    return (wins | both).astype(np.float64), (losses | both).astype(np.float64)


def graded(rng: np.random.Generator, n: int) -> Pair:
    """Scores like chrF of two prompts that are equally good."""
    difficulty = 100 * rng.beta(1, 1.5, n)
    ours, theirs = (np.clip(difficulty + rng.normal(0, 12, n), 0, 100) for _ in range(2))
    return ours, theirs


def rates(draw: Callable[[np.random.Generator], Pair], simulations: int, rng: np.random.Generator) -> Rates:
    """The verdicts of `paired_difference`."""
    found = [_compared(draw(rng), rng) for _ in range(simulations)]
    counts = Counter(one.verdict for one in found)
    needed = [one.needed_n for one in found if one.verdict == "not enough data" and one.needed_n is not None]
    return Rates(
        counts["better"] / simulations,
        counts["worse"] / simulations,
        counts["not enough data"] / simulations,
        float(np.median(needed)) if needed else None,
    )


def _compared(pair: Pair, rng: np.random.Generator) -> PairedDifference:
    return paired_difference(*pair, rng=rng)


@dataclass(frozen=True, slots=True)
class Kind:
    """Differences of graded scores, from nothing to a range of some dozens, and their mean."""

    draw: Callable[[np.random.Generator, int], Scores]
    mean: float


KINDS = {
    "skewed": Kind(lambda rng, n: 5 * rng.lognormal(0.0, 1.0, n), 5 * float(np.exp(0.5))),
    "heavy-tailed": Kind(lambda rng, n: 5 * rng.standard_t(3, n), 0.0),
    "mostly zero": Kind(lambda rng, n: rng.normal(5.0, 10.0, n) * (rng.random(n) < 0.3), 1.5),
}
SHARES = (0.5, 0.8, 0.95)
GAIN = 0.1


def coverage(n: int, simulations: int, rng: np.random.Generator) -> dict[str, float]:
    """How often the 95 % interval holds the truth: of a mean of pass/fail, and of differences."""
    found = {}
    for share in SHARES:
        held = [
            share in mean_interval((rng.random(n) < share).astype(np.float64), rng=rng)
            for _ in range(simulations)
        ]
        found[f"pass/fail, p = {share:g}"] = float(np.mean(held))
    flips = (paired_difference(*pass_fail(rng, n, 0.2, GAIN), rng=rng) for _ in range(simulations))
    found["pass/fail, +10 points"] = float(np.mean([GAIN in one.interval for one in flips]))
    for name, kind in KINDS.items():
        held = []
        for _ in range(simulations):
            theirs = rng.normal(50, 10, n)
            difference = paired_difference(theirs + kind.draw(rng, n), theirs, rng=rng)
            held.append(kind.mean in difference.interval)
        found[f"difference, {name}"] = float(np.mean(held))
    return found


def answers(rng: np.random.Generator, difficulty: Scores, seeds: int, spread: float) -> Scores:
    """Pass/fail scores (R, N) of equally good trainings, whose seeds move all rows by `spread`.

    One seed stands for what is not trained, such as a text prompt: no seed moves it.
    """
    effects = spread * rng.normal(size=(seeds, 1)) if seeds > 1 else 0.0
    noise = 0.7 * rng.normal(size=(seeds, len(difficulty)))
    return np.asarray(difficulty + effects + noise > 0, dtype=np.float64)


def over_seeds(
    n: int, seeds: tuple[int, int], spread: float, simulations: int, rng: np.random.Generator
) -> tuple[float, float]:
    """How often equal methods are called different: over rows and seeds, and over rows alone."""
    method = artefact = 0
    for _ in range(simulations):
        difficulty = 1.2 * rng.normal(size=n)
        sides = [answers(rng, difficulty, count, spread) for count in seeds]
        found = seeds_difference(*sides, rng=rng)
        method += found.p < 0.05
        artefact += 0.0 not in found.artefact_interval(0.95)
    return method / simulations, artefact / simulations


def family_wise(num_contestants: int, n: int, simulations: int, rng: np.random.Generator) -> float:
    """How often any of several equal contestants is called better or worse, half of them of 5 seeds."""
    alarms = 0
    for _ in range(simulations):
        difficulty = rng.normal(size=n)
        counts = [5 if index % 2 else 1 for index in range(num_contestants)]
        contestants = [
            _contestant(TEXT_PROMPT if not index else f"way {index}", answers(rng, difficulty, count, 0.1))
            for index, count in enumerate(counts)
        ]
        judged = judge_contestants(
            contestants,
            metric_name="accuracy",
            digits=3,
            higher_is_better=True,
            maximum=1.0,
            margin=None,
            rng=rng,
        )
        alarms += any(one.verdict in ("better", "worse") for one in judged.differences)
    return alarms / simulations


def _contestant(name: str, scores: Scores) -> ContestantRecord:
    seeds = tuple(
        SeedRecord(seed=seed, predictions=("",) * len(row), scores=tuple(row.tolist()))
        for seed, row in enumerate(scores)
    )
    return ContestantRecord(name=name, family="soft", status="measured", seeds=seeds)


def peeking(looks: Sequence[int], rows: int, simulations: int, rng: np.random.Generator) -> dict[int, float]:
    """How often equal prompts are called different in one of several looks at a growing test set."""
    alarms = dict.fromkeys(looks, 0)
    for _ in range(simulations):
        ours, theirs = pass_fail(rng, rows, 0.3)
        for count in looks:
            sizes = [rows * look // count for look in range(1, count + 1)]
            alarms[count] += any(
                paired_difference(ours[:size], theirs[:size], rng=rng).p < 0.05 for size in sizes
            )
    return {count: found / simulations for count, found in alarms.items()}
