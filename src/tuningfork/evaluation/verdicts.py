"""Which contestant of a comparison is really better: differences, verdicts and a headline from test rows."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tuningfork.evaluation.best_first import best_first
from tuningfork.evaluation.comparison import (
    TEXT_PROMPT,
    ContestantRecord,
    Covers,
    DifferenceRecord,
    SeedRecord,
)
from tuningfork.evaluation.headline import Findings, difference_sentence, headline
from tuningfork.evaluation.multiple import holm, holm_factors
from tuningfork.evaluation.pivots import Interval, Scores
from tuningfork.evaluation.pooled_scores import row_values
from tuningfork.evaluation.statistics import Verdict, are_pass_fail, mcnemar_p
from tuningfork.evaluation.two_level import SeedsDifference, SeedsMean, seeds_difference, seeds_mean


@dataclass(frozen=True, slots=True)
class MeanScore:
    """A contestant's score on the test rows, with its interval."""

    mean: float
    low: float
    high: float
    covers: Covers


@dataclass(frozen=True, slots=True)
class Judgement:
    """What test rows say about contestants."""

    differences: tuple[DifferenceRecord, ...]
    """Each contestant against the text prompt, then the best one against each other one."""
    headline: str
    intervals: Mapping[str, MeanScore]
    """Of every measured contestant, by name."""
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Pair:
    candidate: str
    baseline: str
    places: tuple[int, ...]
    """Test rows that count for one of both."""
    difference: SeedsDifference
    mcnemar_p: float | None
    flips_better: tuple[int, ...]
    flips_worse: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Scale:
    higher_is_better: bool
    maximum: float

    def bounds(self, *matrices: Scores) -> tuple[float, float] | None:
        """Smallest and largest value; those of rows that do not count alike may be beyond the metric's."""
        if not np.isfinite(self.maximum):
            return None
        low = min(float(matrix.min()) for matrix in matrices)
        return min(0.0, low), max(self.maximum, *(float(matrix.max()) for matrix in matrices))


def judge_contestants(
    contestants: Sequence[ContestantRecord],
    *,
    metric_name: str,
    digits: int,
    higher_is_better: bool,
    maximum: float,
    margin: float | None,
    level: float = 0.95,
    rng: np.random.Generator,
) -> Judgement:
    """Compare what was measured on the same test rows: verdicts that hold together, and a headline.

    Differences are of every contestant to the text prompt, and of the best one to every other. Which is best
    is seen on the test rows, so a comparison with it is one picked from those of all pairs. Therefore the
    p-values of all pairs are adjusted together (`holm`), reported or not: whoever turns out best, the chance
    of any false "better" or "worse" is at most 1 - `level`. The best of the held-out rows would need fewer
    comparisons, but not every contestant has a score there, and readers ask about the best they see.
    "equivalent" (two one-sided tests within `margin`) is adjusted likewise. Intervals are each by itself, and
    may exclude zero where the verdict after the adjustment is "not enough data".

    `maximum` is the best score of a row, infinite if there is none. Of equal means that with fewer bytes is
    the better (`best_first`).

    Raises:
        ValueError: If contestants differ in their number of rows, two have one name, a score is not finite,
            the margin is not positive, or `level` is not above 0.5 and below 1.
    """
    measured = [one for one in contestants if one.status == "measured" and one.seeds]
    _check(measured, margin, level)
    scale = _Scale(higher_is_better, maximum)
    found = {one.name: _mean_of(one, scale, level, rng) for one in measured}
    means = {name: one.mean for name, one in found.items()}
    ranking = best_first(measured, means, higher_is_better=higher_is_better)
    pairs = _pairs(ranking, scale, rng)
    findings = Findings(
        contestants={one.name: one for one in ranking},
        means=means,
        intervals={name: one.interval for name, one in found.items()},
        differences=tuple(_judged(pairs, metric_name, digits, margin, level, higher_is_better)),
        metric_name=metric_name,
        digits=digits,
    )
    return Judgement(
        differences=tuple(_shown(findings)),
        headline=headline(findings),
        intervals={
            name: MeanScore(m.mean, m.interval.low, m.interval.high, m.covers) for name, m in found.items()
        },
        notes=tuple(_notes(ranking, len(pairs), level)),
    )


def _check(measured: Sequence[ContestantRecord], margin: float | None, level: float) -> None:
    if margin is not None and not 0 < margin < np.inf:
        raise ValueError(f"the margin must be positive and finite, found {margin}")
    if not 0.5 < level < 1:
        raise ValueError(f"the level of a comparison must be above 0.5 and below 1, found {level}")
    names = [one.name for one in measured]
    if len(set(names)) < len(names):
        raise ValueError(f"contestants need names of their own, found {', '.join(names)}")
    counts = {one.name: {len(seed.scores) for seed in one.seeds} for one in measured}
    if len(set().union(*counts.values())) > 1:
        raise ValueError(f"contestants need the same test rows, found {counts}")


def value_matrices(one: ContestantRecord, *others: ContestantRecord) -> tuple[tuple[int, ...], list[Scores]]:
    """Return the rows that count for any of them, and for each a matrix (R, N) of values: seeds by such rows.

    The mean of a seed's values is its score of the split (`row_values`, `linearised_scores`).
    """
    every = [one, *others]
    weights = [seed.weights for each in every for seed in each.seeds if seed.weights is not None]
    everywhere = range(len(one.seeds[0].scores))
    counting = [place for place in everywhere if not weights or any(some[place] for some in weights)]
    places = tuple(counting or everywhere)
    matrices = []
    for each in every:
        matrices.append(np.asarray([_values(seed, places) for seed in each.seeds]))
    return places, matrices


def _values(seed: SeedRecord, places: Sequence[int]) -> list[float]:
    if seed.values is not None:
        return [seed.values[place] for place in places]
    return row_values(
        [seed.scores[place] for place in places],
        None if seed.weights is None else [seed.weights[place] for place in places],
    )


def _is_linearised(*contestants: ContestantRecord) -> bool:
    """Whether values of rows may lie beyond the range of the metric."""
    seeds = [seed for one in contestants for seed in one.seeds]
    return any(seed.weights is not None or seed.values is not None for seed in seeds)


def _mean_of(one: ContestantRecord, scale: _Scale, level: float, rng: np.random.Generator) -> SeedsMean:
    _, (matrix,) = value_matrices(one)
    found = seeds_mean(matrix, level=level, bounds=scale.bounds(matrix), rng=rng)
    if not _is_linearised(one):
        return found
    least = 0.0 if found.mean >= 0 else -scale.maximum
    low, high = max(least, found.interval.low), min(scale.maximum, found.interval.high)
    return SeedsMean(found.mean, Interval(low, high, level), found.covers)


def _pairs(ranking: Sequence[ContestantRecord], scale: _Scale, rng: np.random.Generator) -> list[_Pair]:
    """All pairs: others minus the text prompt, and else better ones minus those ranked below."""
    found = []
    for upper, lower in itertools.combinations(ranking, 2):
        ours, theirs = (lower, upper) if upper.name == TEXT_PROMPT else (upper, lower)
        found.append(_pair(ours, theirs, scale, rng))
    return found


def _pair(ours: ContestantRecord, theirs: ContestantRecord, scale: _Scale, rng: np.random.Generator) -> _Pair:
    places, (own, other) = value_matrices(ours, theirs)
    gains = _mean_scores(ours) - _mean_scores(theirs)
    gains = gains if scale.higher_is_better else -gains
    is_exact = len(own) == len(other) == 1 and are_pass_fail(own[0], other[0])
    flips = np.flatnonzero(gains > 0).tolist(), np.flatnonzero(gains < 0).tolist()
    return _Pair(
        candidate=ours.name,
        baseline=theirs.name,
        places=places,
        difference=seeds_difference(own, other, bounds=scale.bounds(own, other), rng=rng),
        mcnemar_p=mcnemar_p(*map(len, flips)) if is_exact else None,
        flips_better=tuple(flips[0]),
        flips_worse=tuple(flips[1]),
    )


def _mean_scores(one: ContestantRecord) -> Scores:
    # Equal scores of every seed must have that mean, or rounding would make flips of them.
    return np.asarray(np.mean([seed.scores for seed in one.seeds], axis=0)).round(12)


def _judged(
    pairs: Sequence[_Pair],
    metric_name: str,
    digits: int,
    margin: float | None,
    level: float,
    higher_is_better: bool,
) -> list[DifferenceRecord]:
    """The records of all pairs, their p-values adjusted together."""
    p_values = np.array([pair.difference.p for pair in pairs])
    adjusted = holm(p_values)
    factors = np.empty(len(pairs), dtype=int)
    factors[np.argsort(p_values, kind="stable")] = holm_factors(len(pairs))
    same = holm([1.0 if margin is None else pair.difference.equivalence_p(margin) for pair in pairs])
    found = []
    for pair, p, adjusted_p, equivalent_p, factor in zip(
        pairs, p_values, adjusted, same, factors, strict=True
    ):
        verdict = _verdict(pair.difference.mean, adjusted_p, equivalent_p, 1 - level, higher_is_better)
        rows, seeds = pair.difference.needed(margin=margin, level=1 - (1 - level) / int(factor))
        if verdict == "not enough data" and rows is not None:
            rows = max(rows, len(pair.places) + 1)
        interval, narrower = (pair.difference.interval(wanted) for wanted in (level, 2 * level - 1))
        record = DifferenceRecord(
            candidate=pair.candidate,
            baseline=pair.baseline,
            mean=pair.difference.mean,
            low=interval.low,
            high=interval.high,
            level=level,
            covers=pair.difference.covers,
            num_rows=len(pair.places),
            p=float(p),
            adjusted_p=float(adjusted_p),
            mcnemar_p=pair.mcnemar_p,
            equivalence_low=narrower.low,
            equivalence_high=narrower.high,
            margin=margin,
            verdict=verdict,
            needed_rows=rows,
            needed_seeds=seeds,
            flips_better=pair.flips_better,
            flips_worse=pair.flips_worse,
            sentence="",
        )
        sentence = difference_sentence(record, metric_name, digits, len(pairs))
        found.append(record.model_copy(update={"sentence": sentence}))
    return found


def _verdict(mean: float, p: float, equivalence_p: float, alpha: float, higher_is_better: bool) -> Verdict:
    if equivalence_p < alpha:
        return "equivalent"
    if p >= alpha:
        return "not enough data"
    return "better" if (mean > 0) == higher_is_better else "worse"


def _shown(findings: Findings) -> list[DifferenceRecord]:
    best = next(iter(findings.contestants), None)
    with_text = [one for one in findings.differences if one.baseline == TEXT_PROMPT]
    of_best = [one for one in findings.differences if best == one.candidate and one not in with_text]
    return [*with_text, *of_best]


def _notes(ranking: Sequence[ContestantRecord], num_pairs: int, level: float) -> list[str]:
    notes = []
    if num_pairs > 1:
        notes.append(
            f"Verdicts are corrected for all {num_pairs} pairs of contestants (Holm): the chance of any "
            f'false "better" or "worse" is at most {100 * (1 - level):g} %. Intervals are each by itself.'
        )
    if len(ranking) > 2:
        notes.append(
            "The contestant that did best of several on the same rows had some luck: expect a little less of "
            "it on new rows."
        )
    trained = [one for one in ranking if one.family in ("soft", "weights") and not one.is_untrained]
    once = [one.name for one in trained if len(one.seeds) == 1]
    if once:
        notes.append(
            f"Trained with one seed: {', '.join(once)}. Intervals speak for these trainings, not for the "
            "methods; with other seeds they may do better or worse."
        )
    if untrained := [one.name for one in ranking if one.is_untrained]:
        notes.append(
            f"Not trained in the end: {', '.join(untrained)}. Held-out rows liked no step of training better "
            "than its start, so what was measured is that start."
        )
    return notes
