"""What a comparison of ways of adapting a model writes down, as it stands in its JSON file."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt

from tuningfork.evaluation.statistics import Verdict

Family = Literal["words", "soft", "weights", "classical", "remote"]
"""What a contestant changes: words in front, virtual tokens, weights, another model, a model elsewhere."""
Status = Literal["measured", "left out", "failed"]
Covers = Literal["artefact", "method"]
"""What an interval speaks for: the one prompt or weights that were measured, or a way trained again."""

Setting = str | int | float | bool
"""A value of what was chosen for a contestant."""

TEXT_PROMPT = "text prompt"
"""The contestant that every other is compared with."""


class ComparisonPart(BaseModel):
    """Base of the parts: immutable, strict about unknown fields, and able to keep an unbounded interval."""

    # JSON has no infinity, and a null would not be read back.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class CostRecord(ComparisonPart):
    """What a contestant took to make, and takes in use; None is what could not be measured here."""

    seconds: float
    """Wall time to choose its settings and train it, on this machine."""
    seconds_to_best: float | None = None
    """Of the training that is used: until the step that is kept."""
    processor_seconds: float
    accelerator_seconds: float | None = None
    energy_joules: float | None = None
    peak_memory_bytes: NonNegativeInt
    """Most memory of the process, the model that is loaded included, while it was made."""
    has_earlier_peak: bool = False
    """Whether the peak may be older, as the system's mark could not be set back."""
    trained_parameters: NonNegativeInt
    stored_bytes: NonNegativeInt
    num_calls: NonNegativeInt = 0
    """Single rows that were timed for the figures below."""
    latency_p50_seconds: float | None = None
    latency_p95_seconds: float | None = None
    tokens_per_second: float | None = None
    """Tokens read and said."""
    input_tokens_per_call: float | None = None
    output_tokens_per_call: float | None = None
    money_per_1000_calls: float | None = None
    currency: str = ""


class SeedRecord(ComparisonPart):
    """One training, or the only answers of what is not trained, on the test rows; tuples are parallel."""

    seed: int
    predictions: tuple[str, ...]
    scores: tuple[float, ...]
    """The task's metric of each row."""
    log_losses: tuple[float, ...] | None = None
    weights: tuple[float, ...] | None = None
    """What the score of each row counts for; None if all count alike."""
    values: tuple[float, ...] | None = None
    """Numbers whose mean is the metric, and whose spread is its; None where that is a mean of `scores`."""
    probabilities: tuple[tuple[float, ...], ...] | None = None
    """Of each label, in the task's order; None where there are none."""


class MeasuredMetric(ComparisonPart):
    """A further metric of a contestant, over its seeds."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    note: str = ""
    """What must be known to read it, such as the value that chance alone gives."""
    higher_is_better: bool | None = None
    """None where that was not written down."""


class ContestantRecord(ComparisonPart):
    """One way of adapting the model."""

    name: str
    family: Family
    status: Status
    reason: str = ""
    """Why it was left out, or how it failed."""
    setting: dict[str, Setting] = {}
    """What was chosen on held-out rows: method, rate, steps, placement, number of demonstrations."""
    validation_score: float | None = None
    validation_log_loss: float | None = None
    """What held-out rows said of that setting; no choice looks at test rows."""
    seeds: tuple[SeedRecord, ...] = ()
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    covers: Covers = "artefact"
    metrics: tuple[MeasuredMetric, ...] = ()
    cost: CostRecord | None = None

    @property
    def is_untrained(self) -> bool:
        """Whether it learns, and held-out rows liked nothing that it learned better than its start."""
        return self.family in ("soft", "weights") and self.setting.get("steps") == 0


class DifferenceRecord(ComparisonPart):
    """One contestant against another on the same test rows."""

    candidate: str
    baseline: str
    mean: float
    """Candidate minus baseline."""
    low: float
    high: float
    level: float
    covers: Covers
    num_rows: PositiveInt
    p: float
    """Of no difference, as tested by itself."""
    adjusted_p: float
    """After Holm's correction for all differences of the comparison."""
    mcnemar_p: float | None = None
    equivalence_low: float
    equivalence_high: float
    margin: float | None = None
    verdict: Verdict
    """After the correction."""
    needed_rows: int | None = None
    """Test rows that would decide it, with as many seeds."""
    needed_seeds: int | None = None
    """Seeds that would decide it, with as many rows; None where seeds are not what stands in the way."""
    flips_better: tuple[int, ...] = ()
    """Test rows where the candidate did better, by its mean over seeds."""
    flips_worse: tuple[int, ...] = ()
    sentence: str


class CurvePoint(ComparisonPart):
    """A contestant trained on some of the examples."""

    contestant: str
    num_train: PositiveInt
    num_seeds: PositiveInt
    mean: float
    low: float
    high: float


class TestRow(ComparisonPart):
    """A row of the test split, as reports show it."""

    inputs: dict[str, str]
    targets: tuple[str, ...]


class ComparisonRecord(ComparisonPart):
    """A whole comparison: all that its report shows."""

    format: int = 1
    created: str
    command: str = ""
    """What makes the comparison again, as it is typed."""
    task: str
    task_type: str
    task_hash: str
    metric: str
    metric_digits: int
    metric_maximum: float
    higher_is_better: bool
    margin: float | None = None
    """Smallest difference that matters, from the task file."""
    labels: tuple[str, ...] = ()
    model: str
    model_hash: str
    num_model_parameters: int
    num_train: int
    num_folds: int
    """Folds of the cross-validation that chose settings; 1 where rows were held out once."""
    num_seeds: int
    max_steps: int
    budget_seconds: float | None = None
    rows: tuple[TestRow, ...]
    contestants: tuple[ContestantRecord, ...]
    differences: tuple[DifferenceRecord, ...]
    curves: tuple[CurvePoint, ...] = ()
    headline: str
    """The verdict as one sentence or two; a report begins with it."""
    notes: tuple[str, ...] = ()
    """What a reader must know to trust or doubt the figures."""
    environment: dict[str, str]
    seconds: float
