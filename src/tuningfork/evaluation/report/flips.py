"""Test rows on which one contestant did better than another, with both answers side by side."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tuningfork.evaluation.comparison import ComparisonRecord, ContestantRecord, DifferenceRecord
from tuningfork.evaluation.report.ranking import Ranked, ordered, row_means

MOST_CASES = 20
"""Of one pair that are shown."""
MOST_CHARACTERS = 240_000
"""Of all texts of all pairs together that are shown."""
MOST_OF_A_TEXT = 3000


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A text, or its beginning."""

    shown: str
    num_more: int
    """Characters that were cut off; they are in the record."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What some of the seeds answered."""

    text: Excerpt
    num_seeds: int


@dataclass(frozen=True, slots=True)
class Side:
    """The answers of one contestant to a row, the most frequent first, and its mean score there."""

    name: str
    answers: tuple[Answer, ...]
    num_seeds: int
    score: float


@dataclass(frozen=True, slots=True)
class Case:
    """One row; `number` counts from 1 in the test split."""

    number: int
    is_better: bool
    inputs: tuple[tuple[str, Excerpt], ...]
    targets: tuple[Excerpt, ...]
    candidate: Side
    baseline: Side


@dataclass(frozen=True, slots=True)
class Pair:
    """Two contestants and the rows on which they differ, the largest differences first."""

    difference: DifferenceRecord
    cases: tuple[Case, ...]

    @property
    def num_flips(self) -> int:
        """How many rows differ, shown or not."""
        return len(self.difference.flips_better) + len(self.difference.flips_worse)


def flips(record: ComparisonRecord, present: list[Ranked], most_cases: int = MOST_CASES) -> list[Pair]:
    """Return the pairs that differ anywhere: first those against the text prompt by rank, then the others."""
    contestants = {contestant.name: contestant for contestant in record.contestants}
    differing = [each for each in ordered(record, present) if each.flips_better or each.flips_worse]
    room = MOST_CHARACTERS // max(1, len(differing))
    return [
        Pair(
            difference,
            _cases(
                record,
                difference,
                (contestants[difference.candidate], contestants[difference.baseline]),
                most_cases,
                room,
            ),
        )
        for difference in differing
    ]


def _cases(
    record: ComparisonRecord,
    difference: DifferenceRecord,
    sides: tuple[ContestantRecord, ContestantRecord],
    most: int,
    room: int,
) -> tuple[Case, ...]:
    """Return up to `most` cases, half of them of each kind where there are enough, as far as `room` goes."""
    ours, theirs = (row_means(side) for side in sides)

    def by_size(rows: Sequence[int]) -> list[int]:
        return sorted(rows, key=lambda row: (-abs(ours[row] - theirs[row]), row))

    better, worse = by_size(difference.flips_better), by_size(difference.flips_worse)
    num_better = max(min(len(better), most - len(worse)), min(len(better), most // 2))
    chosen = [(row, True) for row in better[:num_better]]
    chosen += [(row, False) for row in worse[: most - num_better]]
    # The larger differences of both kinds come before the smaller ones, so that little room is shared.
    chosen.sort(key=lambda item: (-abs(ours[item[0]] - theirs[item[0]]), item[0]))
    cases = []
    for row, is_better in chosen:
        test_row = record.rows[row]
        case = Case(
            number=row + 1,
            is_better=is_better,
            inputs=tuple((name, excerpt(words)) for name, words in test_row.inputs.items()),
            targets=tuple(excerpt(target) for target in test_row.targets),
            candidate=_side(sides[0], row, ours[row]),
            baseline=_side(sides[1], row, theirs[row]),
        )
        room -= _characters(case)
        if room < 0:
            break
        cases.append(case)
    return tuple(cases)


def _side(contestant: ContestantRecord, row: int, score: float) -> Side:
    # `most_common` keeps the order of seeds among equals.
    said = Counter(seed.predictions[row] for seed in contestant.seeds).most_common()
    answers = tuple(Answer(excerpt(words), count) for words, count in said)
    return Side(contestant.name, answers, len(contestant.seeds), score)


def excerpt(words: str) -> Excerpt:
    """Return the beginning of a text."""
    return Excerpt(words[:MOST_OF_A_TEXT], max(0, len(words) - MOST_OF_A_TEXT))


def _characters(case: Case) -> int:
    texts = [text for _, text in case.inputs]
    texts += case.targets
    for side in (case.candidate, case.baseline):
        texts += [answer.text for answer in side.answers]
    return sum(len(text.shown) for text in texts)
