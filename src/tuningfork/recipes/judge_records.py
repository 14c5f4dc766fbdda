"""What a judge said of stored answers, as it stands in its JSON file."""

from pydantic import BaseModel, ConfigDict

from tuningfork.evaluation.comparison import MeasuredMetric


class _Record(BaseModel):
    """Base of the records: immutable, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class JudgedRow(_Record):
    """One answer and its score; None is no judgement."""

    row: int
    answer: str
    """The way of answering."""
    score: int | None
    reason: str


class JudgedPair(_Record):
    """One row and the better of two answers; None is no judgement."""

    row: int
    winner: str | None
    """A way of answering, or tie."""
    is_consistent: bool | None
    places: tuple[str | None, str | None]
    reasons: tuple[str, str]


class JudgedPairs(_Record):
    """Two ways of answering, pair by pair."""

    a: str
    b: str
    rows: tuple[JudgedPair, ...]
    wins: int
    losses: int
    ties: int
    unjudged: int
    num_asked: int
    inconsistent: int
    inconsistency_low: float
    inconsistency_high: float
    always_first: int
    always_second: int
    verdict: str | None
    sentence: str


class JudgeRecord(_Record):
    """All that a judge said, as it stands in its file."""

    format: int = 1
    created: str
    task: str
    judge: str
    host: str
    criterion: str
    scale: tuple[int, int]
    num_rows: int
    metrics: dict[str, MeasuredMetric] = {}
    """Mean scores by way of answering."""
    rows: tuple[JudgedRow, ...] = ()
    pairs: JudgedPairs | None = None
    trust: str = ""
    """Agreement with people in a sentence; empty where nothing of theirs was given."""
    calls: int
    cached_calls: int
    money: float | None
    currency: str
