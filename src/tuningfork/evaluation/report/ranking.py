"""The measured contestants in the order of a report, each with its difference to the text prompt."""

from collections.abc import Mapping
from dataclasses import dataclass

from tuningfork.evaluation.best_first import best_first
from tuningfork.evaluation.comparison import (
    TEXT_PROMPT,
    ComparisonRecord,
    ContestantRecord,
    DifferenceRecord,
    SeedRecord,
)
from tuningfork.evaluation.sample_size import MOST_ROWS_WORTH_NAMING, rounded_up
from tuningfork.evaluation.statistics import Verdict

VERDICT_SIGNS: Mapping[Verdict, str] = {
    "better": "▲",
    "worse": "▼",
    "equivalent": "=",
    "not enough data": "?",
}


@dataclass(frozen=True, slots=True)
class Ranked:
    """A measured contestant; `number` counts from 1, the best score first."""

    number: int
    contestant: ContestantRecord
    mean: float
    difference: DifferenceRecord | None
    """Against the text prompt; None for that itself, or where none was made."""

    @property
    def name(self) -> str:
        """What reports call it."""
        return self.contestant.name

    @property
    def label(self) -> str:
        """Number and name, as they stand beside a marker."""
        return f"{self.number} {self.name}"


def ranked(record: ComparisonRecord) -> list[Ranked]:
    """Return the contestants that have a score, the best first, as the verdict ranks them."""
    scored = [
        contestant
        for contestant in record.contestants
        if contestant.status == "measured" and (contestant.mean is not None or contestant.seeds)
    ]
    means = {contestant.name: mean_of(contestant) for contestant in scored}
    order = best_first(scored, means, higher_is_better=record.higher_is_better)
    against = {
        difference.candidate: difference
        for difference in record.differences
        if difference.baseline == TEXT_PROMPT
    }
    return [
        Ranked(number, contestant, means[contestant.name], against.get(contestant.name))
        for number, contestant in enumerate(order, start=1)
    ]


def absent(record: ComparisonRecord, present: list[Ranked]) -> list[ContestantRecord]:
    """Return the contestants of the record that are not among `present`."""
    names = {one.name for one in present}
    return [contestant for contestant in record.contestants if contestant.name not in names]


def mean_of(contestant: ContestantRecord) -> float:
    """Return the score of a contestant: as recorded, else the mean over its seeds."""
    if contestant.mean is not None:
        return contestant.mean
    return sum(map(seed_mean, contestant.seeds)) / len(contestant.seeds)


def seed_mean(seed: SeedRecord) -> float:
    """Return the score of one training: the mean over rows, each counting by its weight."""
    if seed.values is not None:
        return sum(seed.values) / len(seed.values)
    if seed.weights is None or not any(seed.weights):
        return sum(seed.scores) / len(seed.scores)
    weighed = (weight * score for weight, score in zip(seed.weights, seed.scores, strict=True))
    return sum(weighed) / sum(seed.weights)


def row_means(contestant: ContestantRecord) -> list[float]:
    """Return the score of each row, by its mean over seeds."""
    columns = zip(*(seed.scores for seed in contestant.seeds), strict=True)
    return [sum(column) / len(column) for column in columns]


def verdict_text(difference: DifferenceRecord) -> str:
    """Return the verdict with its sign and, where data is lacking, how many rows or seeds would do."""
    words = f"{VERDICT_SIGNS[difference.verdict]} {difference.verdict}"
    needed = []
    if difference.needed_rows is not None:
        needed.append(_rows_text(difference.needed_rows))
    if difference.needed_seeds is not None:
        needed.append(f"{difference.needed_seeds} seeds")
    if difference.verdict != "not enough data" or not needed:
        return words
    return f"{words}, need {' or '.join(needed)}"


def _rows_text(needed: int) -> str:
    """Return a number of rows as an estimate: rounded up to two digits."""
    if needed > MOST_ROWS_WORTH_NAMING:
        return f"n > {MOST_ROWS_WORTH_NAMING:,}"
    return f"n = {rounded_up(needed):,}"


def ordered(record: ComparisonRecord, present: list[Ranked]) -> list[DifferenceRecord]:
    """Return all differences: those against the text prompt by rank, then the others."""
    ranks = {one.name: one.number for one in present}
    last = len(ranks) + 1

    def place(difference: DifferenceRecord) -> tuple[bool, int]:
        return difference.baseline != TEXT_PROMPT, ranks.get(difference.candidate, last)

    return sorted(record.differences, key=place)


def title_of(difference: DifferenceRecord) -> str:
    """Return what a difference is called; what it is compared with is named unless it is the text prompt."""
    if difference.baseline == TEXT_PROMPT:
        return difference.candidate
    return f"{difference.candidate} against {difference.baseline}"
