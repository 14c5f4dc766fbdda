"""Which class was taken for which: counts for each contestant, as a mean over its seeds."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from tuningfork.evaluation.comparison import ComparisonRecord, ContestantRecord, TestRow

OTHER = "another answer"
"""Column of answers that are no class."""
MOST_CLASSES = 80
"""Larger matrices show the classes that were mistaken most."""
MOST_PAIRS = 10
_CLASSIFIES = ("classification", "token_classification")


@dataclass(frozen=True, slots=True)
class Mistake:
    """A class that was taken for another, in `count` of its `total` rows."""

    true: str
    said: str
    count: float
    total: int

    @property
    def share(self) -> float:
        """Part of the class's rows."""
        return self.count / self.total


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the matrix: a mean count over seeds, and its share of the class's rows."""

    count: float
    share: float
    is_right: bool


@dataclass(frozen=True, slots=True)
class ClassRow:
    """All answers to the rows of one class; `cells` are parallel to the columns of its matrix."""

    name: str
    total: int
    recall: float
    cells: tuple[Cell | None, ...]
    """None where no row stands."""


@dataclass(frozen=True, slots=True)
class Confusion:
    """The answers of one contestant."""

    contestant: str
    num_seeds: int
    columns: tuple[str, ...]
    rows: tuple[ClassRow, ...]
    num_left_out: int
    """Classes for which the matrix has no room."""
    mistakes: tuple[Mistake, ...]
    """The most frequent ones of all classes."""


def confusion(record: ComparisonRecord, contestant: ContestantRecord) -> Confusion | None:
    """Return what a contestant took for what; None without classes or without answers."""
    if record.task_type not in _CLASSIFIES or not record.labels or not contestant.seeds:
        return None
    counted = Counter(_answers(record, contestant))
    if not counted:
        return None
    number = len(contestant.seeds)
    totals = Counter[str]()
    for (true, _), count in counted.items():
        totals[true] += count
    wrong = sorted(
        ((pair, count) for pair, count in counted.items() if pair[0] != pair[1]),
        key=lambda item: (-item[1], item[0]),
    )
    mistakes = tuple(
        Mistake(true, said, count / number, round(totals[true] / number))
        for (true, said), count in wrong[:MOST_PAIRS]
    )
    classes = _classes_shown(record, counted)
    columns = (*classes, OTHER) if any(said == OTHER for _, said in counted) else classes
    rows = tuple(_row(true, columns, counted, totals, number) for true in classes if totals[true])
    left_out = len(totals.keys() - set(classes))
    return Confusion(contestant.name, number, columns, rows, left_out, mistakes)


def _classes_shown(record: ComparisonRecord, counted: Counter[tuple[str, str]]) -> tuple[str, ...]:
    if len(record.labels) <= MOST_CLASSES:
        return record.labels
    mistaken = Counter[str]()
    for (true, said), count in counted.items():
        if true != said:
            mistaken[true] += count
            mistaken[said] += count
    places = {label: place for place, label in enumerate(record.labels)}
    chosen = sorted(record.labels, key=lambda label: (-mistaken[label], places[label]))[:MOST_CLASSES]
    return tuple(sorted(chosen, key=places.__getitem__))


def _row(
    true: str, columns: tuple[str, ...], counted: Counter[tuple[str, str]], totals: Counter[str], number: int
) -> ClassRow:
    total = totals[true]
    cells = tuple(
        Cell(counted[true, said] / number, counted[true, said] / total, said == true)
        if counted[true, said]
        else None
        for said in columns
    )
    return ClassRow(true, round(total / number), counted[true, true] / total, cells)


def _answers(record: ComparisonRecord, contestant: ContestantRecord) -> Iterator[tuple[str, str]]:
    """Yield the right class and the one said, for each row, or each word to tag, of each seed."""
    known = set(record.labels)
    for seed in contestant.seeds:
        for row, prediction in zip(record.rows, seed.predictions, strict=True):
            for true, said in _read(record, row, prediction):
                if true in known:
                    yield true, said if said in known else OTHER


def _read(record: ComparisonRecord, row: TestRow, prediction: str) -> Iterator[tuple[str, str]]:
    if record.task_type == "token_classification":
        tags, said = row.targets[0].split(), prediction.split()
        # An answer of too few tags says nothing of the last words.
        yield from zip(tags, [*said, *[OTHER] * (len(tags) - len(said))], strict=False)
        return
    targets = [target.strip() for target in row.targets]
    said_class = prediction.strip()
    yield (said_class if said_class in targets else targets[0]), said_class
