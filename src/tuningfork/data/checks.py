"""What is wrong with a set of examples, found before anything is trained on it."""

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tuningfork.data.example import Example
from tuningfork.data.hashing import content_digest, input_digest, target_digest
from tuningfork.data.rows import describe_place, excerpt
from tuningfork.data.views import ExampleView
from tuningfork.errors import DataError

_PLACES_NAMED = 5


@dataclass(slots=True)
class Finding:
    """How often something was found, and the words for the first few places."""

    count: int = 0
    places: list[str] = field(default_factory=list)

    def add(self, place: str) -> None:
        """Count one more, keeping its words while there are few."""
        self.count += 1
        if len(self.places) < _PLACES_NAMED:
            self.places.append(place)

    def describe_places(self) -> str:
        """Returns the places that were kept and how many more there are."""
        more = self.count - len(self.places)
        return "; ".join(self.places) + (f"; and {more} more" if more else "")


@dataclass(slots=True)
class DataReport:
    """What `check_examples` found."""

    row_count: int
    examples: Sequence[Example]
    """The rows to use, in their order: all but the duplicates, the empty and the over-long ones."""
    duplicates: Finding
    """Rows equal to an earlier one; dropped."""
    near_duplicates: Finding
    """Rows equal to an earlier one but for case and white space; kept."""
    conflicts: Finding
    """Rows with the input of an earlier one and another target; kept."""
    empty: Finding
    """Rows without input or, where one is needed, without target; dropped."""
    over_long: Finding
    """Rows longer than the maximum; dropped."""

    def lines(self) -> list[str]:
        """Returns what to tell the user, one line per kind of finding; empty if nothing was found."""
        words = {
            "duplicate{s} dropped": self.duplicates,
            "near-duplicate{s} kept (case or spaces differ)": self.near_duplicates,
            "row{s} with the same input but another target": self.conflicts,
            "empty row{s} dropped": self.empty,
            "over-long row{s} dropped": self.over_long,
        }
        return [
            f"{finding.count} {what.format(s='s' if finding.count > 1 else '')}: {finding.describe_places()}"
            for what, finding in words.items()
            if finding.count
        ]


@dataclass(frozen=True, slots=True)
class Leak:
    """A row whose input, but for case and white space, is also in the training data."""

    source: str
    train_source: str

    def __str__(self) -> str:
        return f"{describe_place(self.source)} has the input of {describe_place(self.train_source)}"


def check_examples(
    examples: Sequence[Example],
    *,
    length_of: Callable[[Example], int] | None = None,
    maximum: int | None = None,
    needs_target: bool = True,
    needs_several_targets: bool = True,
    minimum_rows: int = 8,
) -> DataReport:
    """Returns what is wrong with `examples` and the rows to use.

    One pass over the rows; of each, only digests are kept. `length_of` and `maximum`, in the same unit, come
    together: rows longer than `maximum` are dropped. For a test set of its own, set `minimum_rows` to 1 and
    `needs_several_targets` to False; for rows that are only predicted, `needs_target` to False as well.

    Raises:
        DataError: If fewer than `minimum_rows` rows are left, or all have the same target and several are
            needed.
    """
    survey = _Survey(examples, needs_target=needs_target, length_of=length_of, maximum=maximum)
    for position, example in enumerate(examples):
        survey.look_at(position, example)
    report = survey.report()
    _require_rows(report, examples, minimum_rows)
    if needs_target and needs_several_targets:
        _require_several_targets(report.examples)
    return report


def find_leaks(train: Sequence[Example], other: Sequence[Example]) -> list[Leak]:
    """Returns the rows of `other` whose input is also in `train`, compared without case and white space."""
    positions: dict[bytes, int] = {}
    for position, example in enumerate(train):
        positions.setdefault(input_digest(example), position)
    return [
        Leak(example.source, train[found].source)
        for example in other
        if (found := positions.get(input_digest(example))) is not None
    ]


class _Survey:
    """What is known about the rows seen so far."""

    def __init__(
        self,
        examples: Sequence[Example],
        *,
        needs_target: bool,
        length_of: Callable[[Example], int] | None,
        maximum: int | None,
    ) -> None:
        self._examples = examples
        self._needs_target = needs_target
        self._length_of = length_of
        self._maximum = maximum
        self._kept = array("q")
        self._first_of_content: dict[bytes, int] = {}
        self._first_of_input: dict[bytes, int] = {}
        self._duplicates, self._near_duplicates, self._conflicts = Finding(), Finding(), Finding()
        self._empty, self._over_long = Finding(), Finding()

    def look_at(self, position: int, example: Example) -> None:
        """Decide whether the row at `position` is kept and note what is wrong with it."""
        place = _describe(example, position)
        if lack := self._lack_of(example):
            self._empty.add(f"{place} (no {lack})")
            return
        content = content_digest(example)
        if (first := self._first_of_content.get(content)) is not None:
            self._duplicates.add(f"{place} (as {self._describe_at(first)})")
            return
        if self._length_of is not None and self._maximum is not None:
            length = self._length_of(example)
            if length > self._maximum:
                self._over_long.add(f"{place} (length {length}, maximum {self._maximum})")
                return
        self._first_of_content[content] = position
        first = self._first_of_input.setdefault(input_digest(example), position)
        if first != position:
            is_same = target_digest(example) == target_digest(self._examples[first])
            finding = self._near_duplicates if is_same else self._conflicts
            finding.add(f"{place} (as {self._describe_at(first)})")
        self._kept.append(position)

    def report(self) -> DataReport:
        """Returns all findings."""
        is_complete = len(self._kept) == len(self._examples)
        return DataReport(
            row_count=len(self._examples),
            examples=self._examples if is_complete else ExampleView(self._examples, self._kept),
            duplicates=self._duplicates,
            near_duplicates=self._near_duplicates,
            conflicts=self._conflicts,
            empty=self._empty,
            over_long=self._over_long,
        )

    def _lack_of(self, example: Example) -> str:
        """Returns what is missing from the example: "input", "target" or nothing."""
        texts = [*example.inputs.values(), *(message.content for message in example.messages)]
        if not any(text.strip() for text in texts):
            return "input"
        if self._needs_target and not any(text.strip() for text in example.targets):
            return "target"
        return ""

    def _describe_at(self, position: int) -> str:
        return _describe(self._examples[position], position)


def _describe(example: Example, position: int) -> str:
    return describe_place(example.source) if example.source else f"row {position + 1}"


def _require_rows(report: DataReport, examples: Sequence[Example], minimum: int) -> None:
    left = len(report.examples)
    if left >= minimum:
        return
    rows = f"{left} {'row' if left == 1 else 'rows'}"
    dropped = {"duplicate": report.duplicates, "empty": report.empty, "over-long": report.over_long}
    counts = ", ".join(f"{finding.count} {kind}" for kind, finding in dropped.items() if finding.count)
    if counts:
        rows += f" left of {report.row_count} ({counts} dropped)"
    needed = f"at least {minimum} {'is' if minimum == 1 else 'are'} needed"
    recommendation = ", 20-50 recommended" if minimum > 1 else ""
    raise DataError(f"{_name_file(examples)}{rows}; {needed}{recommendation}. Add more examples.")


def _require_several_targets(examples: Sequence[Example]) -> None:
    only = examples[0].targets[0]
    if all(example.targets[0] == only for example in examples):
        raise DataError(
            f"{_name_file(examples)}all {len(examples)} rows have the same target, {excerpt(only)!r}; "
            "there is nothing to learn from one label or answer. Add rows with others, or name another "
            "target column."
        )


def _name_file(examples: Sequence[Example]) -> str:
    name = examples[0].source.rpartition(":")[0] if examples else ""
    return f"{name}: " if name else ""
