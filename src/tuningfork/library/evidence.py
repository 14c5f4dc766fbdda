"""What was measured of a version, row by row: the files that gates judge by.

A file of evidence is lines of canonical JSON. The first says what it is:

| field | is |
|---|---|
| `format` | 1 |
| `kind` | `evaluation`, `robustness`, `bias`, `guard` or `cost` |
| `content_hash` | of the version that was measured |
| `dataset` | hash of the set of rows, as `data.hashing.hash_examples` has it; optional for `cost` |
| `metric` | of `evaluation`, `robustness` and `bias`: name, direction and largest score |
| `labels` | of `evaluation`: all labels, in the order of `probabilities` |
| `base` | SHA-256 of the weights that it was measured on, if known |
| `origin` | `run`, `comparison`, `evaluate`, or whatever measured it |

Each further line is a row. `row` is the SHA-256 of the row's inputs and targets, as
`data.hashing.hash_example` has it, or of whatever a pair or call was; these hashes make up `dataset`, so rows
that are missing, added or exchanged show.

- `evaluation`: a row of the test set each, with `score`, and where there are some `log_loss` (nats), `weight`
  (what the score counts for), `critical`, `latency_seconds`, `answer` or, where that is private,
  `answer_hash`, and what metrics of a whole split need: `targets` and `probabilities`.
- `robustness`: the `score` of each row in each `variant` (a format, a rewording); every row in every variant.
  The rows of one variant make up `dataset`.
- `bias`: a pair each, which differs in a `template` by who is spoken of: the two `groups`, the two `answers`
  (or their hashes) and the two `scores`.
- `guard`: a harmless row each, and whether the guards stopped it: `is_blocked`.
- `cost`: a call each, with `latency_seconds`, and where known `input_tokens`, `output_tokens` and `money`.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self, TypeVar

from pydantic import ConfigDict, Field, ValidationError

from tuningfork.errors import LibraryError, TaskError
from tuningfork.library.canonical import canonical_json, hash_bytes
from tuningfork.library.datasets import hash_of_keys
from tuningfork.library.run_records import Record
from tuningfork.tasks.custom_metrics import is_custom
from tuningfork.tasks.metrics import Metric, get_metric
from tuningfork.tasks.split_metrics import SplitMetric

R = TypeVar("R", bound="StrictRecord")
S = TypeVar("S", bound="EvidenceRow")

EvidenceKind = Literal["evaluation", "robustness", "bias", "guard", "cost"]

_SHOWN = 12
_ROUNDING = 1e-9
_SCORE_ROUNDING = 1e-6
"""Of the range of a score: what a file that was rounded may be off by."""

Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Number = Annotated[float, Field(allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=2**20)]


class StrictRecord(Record):
    """A record that takes no text for a number."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class MetricScale(StrictRecord):
    """The metric of scores, and how they are to be read."""

    name: str
    higher_is_better: bool = True
    maximum: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0

    @classmethod
    def of(cls, metric: Metric) -> Self:
        """The scale of `metric`."""
        return cls(name=metric.name, higher_is_better=metric.higher_is_better, maximum=float(metric.maximum))

    @property
    def metric(self) -> Metric:
        """The metric; a function of the user's is not imported, and is taken at its word here.

        Raises:
            LibraryError: if there is no such metric, or it has another direction or range.
        """
        if is_custom(self.name):
            return Metric(self.name, _never, higher_is_better=self.higher_is_better, maximum=self.maximum)
        try:
            known = get_metric(self.name)
        except TaskError as error:
            raise LibraryError(f"its metric cannot be read: {error}") from error
        if MetricScale.of(known) != self:
            raise LibraryError(
                f"metric {self.name} goes to {known.maximum:g}, higher is better: {known.higher_is_better}; "
                f"found {self.maximum:g} and {self.higher_is_better}"
            )
        return known

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest score that there can be."""
        metric = self.metric
        return (metric.minimum if isinstance(metric, SplitMetric) else 0.0), self.maximum


class EvidenceHeader(StrictRecord):
    """What evidence is, and what it is bound to."""

    format: Literal[1] = 1
    kind: EvidenceKind
    content_hash: Hash
    dataset: Hash | None = None
    metric: MetricScale | None = None
    labels: tuple[str, ...] = ()
    base: Text = ""
    origin: Text = ""


class EvidenceRow(StrictRecord):
    """One line of evidence."""

    row: Hash


class EvaluationRow(EvidenceRow):
    """What was answered to a row of a test set, and what that is worth."""

    score: Number
    log_loss: Number | None = None
    weight: Amount | None = None
    critical: bool = False
    latency_seconds: Amount | None = None
    answer: Text | None = None
    answer_hash: Hash | None = None
    targets: tuple[str, ...] | None = None
    probabilities: tuple[Annotated[float, Field(ge=0, le=1.0001, allow_inf_nan=False)], ...] | None = None


class RobustnessRow(EvidenceRow):
    """What a row is worth in one variant of how it is asked."""

    variant: Annotated[str, Field(min_length=1, max_length=200)]
    score: Number


class BiasRow(EvidenceRow):
    """Two answers that should not differ."""

    template: Annotated[str, Field(min_length=1, max_length=200)]
    groups: tuple[str, str]
    answers: tuple[Text, Text]
    scores: tuple[Number, Number]


class GuardRow(EvidenceRow):
    """Whether something harmless was stopped."""

    is_blocked: bool


class CostRow(EvidenceRow):
    """What one call took."""

    latency_seconds: Amount
    input_tokens: Annotated[int, Field(ge=0)] | None = None
    output_tokens: Annotated[int, Field(ge=0)] | None = None
    money: Amount | None = None


ROWS: Mapping[EvidenceKind, type[EvidenceRow]] = {
    "evaluation": EvaluationRow,
    "robustness": RobustnessRow,
    "bias": BiasRow,
    "guard": GuardRow,
    "cost": CostRow,
}
WITH_METRIC = frozenset({"evaluation", "robustness", "bias"})
WITHOUT_DATASET = frozenset({"cost"})


@dataclass(frozen=True)
class Evidence:
    """A file of evidence, read: its rows are those that its header names, and can be what its kind says."""

    header: EvidenceHeader
    rows: Sequence[EvidenceRow]

    def __post_init__(self) -> None:
        """Check it as a whole.

        Raises:
            LibraryError: if rows are missing or not of its set, or a score cannot be one of its metric.
        """
        if not self.rows:
            raise LibraryError(f"{self.header.kind} evidence has no rows")
        _check_fields(self.header)
        if any(type(row) is not ROWS[self.header.kind] for row in self.rows):
            raise LibraryError(f"rows are not all those of {self.header.kind} evidence")
        _check_rows(self.header, self.rows)
        _check_dataset(self.header, self.rows)

    @property
    def keys(self) -> list[str]:
        """The rows that it is of; of `robustness` those of one variant."""
        return _keys(self.header.kind, self.rows)

    def of_kind(self, kind: type[S]) -> list[S]:
        """The rows, all of which are of `kind`."""
        found = [row for row in self.rows if isinstance(row, kind)]
        assert len(found) == len(self.rows)
        return found


def write_evidence(evidence: Evidence) -> bytes:
    """The file of `evidence`; equal evidence gives equal bytes."""
    lines = [evidence.header, *evidence.rows]
    return "".join(
        canonical_json(line.model_dump(mode="json", exclude_none=True)) + "\n" for line in lines
    ).encode()


def read_evidence(content: bytes) -> Evidence:
    """The evidence in a file.

    Raises:
        LibraryError: if it is none, of a later format, or not whole in itself; the message names the line.
    """
    lines = content.split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise LibraryError("evidence is lines of JSON, found nothing")
    header = _read(EvidenceHeader, lines[0], 1)
    kind = ROWS[header.kind]
    return Evidence(header, [_read(kind, line, number) for number, line in enumerate(lines[1:], start=2)])


def hash_answer(answer: str) -> str:
    """What stands for an answer that shall not be kept."""
    return hash_bytes(answer.encode())


def _read(kind: type[R], line: bytes, number: int) -> R:
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"])) or "the line"
        raise LibraryError(f"evidence, line {number}: {field}: {first['msg']}") from error


def _check_fields(header: EvidenceHeader) -> None:
    if (header.metric is None) is (header.kind in WITH_METRIC):
        needs = "names its metric" if header.kind in WITH_METRIC else "has no metric"
        raise LibraryError(f"{header.kind} evidence {needs}")
    if header.dataset is None and header.kind not in WITHOUT_DATASET:
        raise LibraryError(f"{header.kind} evidence names the hash of its set of rows, found none")


def _check_dataset(header: EvidenceHeader, rows: Sequence[EvidenceRow]) -> None:
    if header.dataset is None:
        return
    keys = _keys(header.kind, rows)
    if (found := hash_of_keys(keys)) != header.dataset:
        raise LibraryError(
            f"its {len(keys)} rows are not those of the set {header.dataset[:_SHOWN]} but of "
            f"{found[:_SHOWN]}: rows are missing, added or others"
        )


def _keys(kind: EvidenceKind, rows: Sequence[EvidenceRow]) -> list[str]:
    if kind != "robustness":
        return [row.row for row in rows]
    by_variant: defaultdict[str, list[str]] = defaultdict(list)
    for row in rows:
        assert isinstance(row, RobustnessRow)
        by_variant[row.variant].append(row.row)
    first, *others = (sorted(keys) for keys in by_variant.values())
    if any(keys != first for keys in others):
        raise LibraryError("robustness evidence has every row in every variant, found some missing")
    return first


def _check_rows(header: EvidenceHeader, rows: Sequence[EvidenceRow]) -> None:
    if header.metric is None:
        return
    low, high = header.metric.range
    slack = _ROUNDING * max(1.0, high - low)
    for number, row in enumerate(rows, start=2):
        for score in _scores(row):
            if not low - slack <= score <= high + slack:
                raise LibraryError(
                    f"evidence, line {number}: a score of {header.metric.name} lies in {low:g} to {high:g}, "
                    f"found {score:g}"
                )
        if isinstance(row, EvaluationRow):
            _check_evaluation(header, row, number, slack)


def _check_evaluation(header: EvidenceHeader, row: EvaluationRow, number: int, slack: float) -> None:
    assert header.metric is not None
    if len(row.probabilities or header.labels) != len(header.labels):
        raise LibraryError(
            f"evidence, line {number}: {len(row.probabilities or ())} probabilities for "
            f"{len(header.labels)} labels"
        )
    metric = header.metric.metric
    says_enough = not isinstance(metric, SplitMetric) or metric.needs in ("labels", "text")
    if row.answer is None or not row.targets or is_custom(metric.name) or not says_enough:
        return
    # A score that its own answer contradicts is not believed.
    score = metric.score(row.answer, row.targets)
    if abs(score - row.score) > max(slack, _SCORE_ROUNDING * metric.maximum):
        raise LibraryError(
            f"evidence, line {number}: {metric.name} of its answer is {score:g}, found {row.score:g}"
        )


def _scores(row: EvidenceRow) -> tuple[float, ...]:
    match row:
        case EvaluationRow(score=score) | RobustnessRow(score=score):
            return (score,)
        case BiasRow(scores=scores):
            return scores
        case _:
            return ()


def _never(prediction: str, references: Sequence[str]) -> float:
    raise LibraryError("a function of the user's is not run where evidence is judged")
