"""What a run writes down, as it stands in its JSON files."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from tuningfork.tuning.soft.defaults import Placement

LearningRate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


NO_PROMPT, TEXT_PROMPT, TUNED_PROMPT = "no prompt", "text prompt", "tuned prompt"
"""Names of the ways of prompting that every result has."""


class Record(BaseModel):
    """Base of the records: immutable, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TuneOptions(Record):
    """What was asked of `tune`; together with data, task and model it decides the result."""

    model: str = "bundled"
    device: str = "auto"
    dtype: str = "auto"
    methods: tuple[str, ...] = ()
    """Soft-prompt methods to try; empty tries all that the model can take."""
    learning_rates: tuple[LearningRate, ...] = ()
    """Peak learning rates to try; empty takes each method's own."""
    placements: tuple[Placement, ...] = ()
    """Where virtual tokens stand; empty is at the markers of the prompt or, if it has none, in front, and
    where no methods are named, other places are tried too."""
    initialization: str = "text"
    start_from: str | None = None
    """Folder of a run whose virtual tokens take the place of the text prompt's at the start."""
    objective: Literal["auto", "labels", "tokens"] = "auto"
    """What training minimises; auto tells labels apart in classification and learns tokens elsewhere."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target that all labels get alike in training; validation and test are not smoothed."""
    num_virtual_tokens: int | None = Field(default=None, ge=1)
    """P; None takes the number of tokens of the text prompt."""
    max_steps: int = Field(default=100, ge=1)
    batch_size: int = Field(default=16, ge=1)
    micro_batch_size: int = Field(default=16, ge=1)
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    weight_decay: float = Field(default=0.0, ge=0)
    validate_every: int = Field(default=10, ge=1)
    patience: int = Field(default=5, ge=0)
    checkpoint_every: int = Field(default=10, ge=1)
    seed: int = 0
    """Split, order of the rows and everything drawn at random."""
    num_seeds: int = Field(default=3, ge=1)
    """Trainings of the chosen setting, each with another order of the rows."""
    refit: Literal["auto", "yes", "no"] = "auto"
    """Whether the chosen setting is trained on validation rows too; auto does below 50 rows together.

    Below 50 rows, unless this is no, settings are chosen by cross-validation over all of them.
    """
    num_folds: int = Field(default=3, ge=2)
    """Parts of a cross-validation."""
    num_repeats: int = Field(default=1, ge=1)
    """Cross-validations, each with other parts; the settings are judged by all of them together."""
    lora_rank: int | None = Field(default=None, ge=1)
    """Rank of the LoRA adapter that is learned with every prompt; None learns none."""
    lora_alpha: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """The adapter is scaled by alpha / rank; None takes twice the rank."""
    lora_learning_rates: tuple[LearningRate, ...] = ()
    """Peak learning rates of the adapter to try; empty takes the usual one."""
    lora_targets: tuple[str, ...] = ()
    """Layers to change, by the ends of their names; empty changes every linear layer."""
    lora_alone: bool = False
    """Whether LoRA behind the text prompt is tried too, without virtual tokens."""
    context_cache_mb: int = Field(default=1024, ge=0)
    """Memory for words of rows that are read once, where training does not change them; in 10^6 bytes."""
    skip_bad_rows: bool = False
    limit: int | None = Field(default=None, ge=1)
    """Read at most this many rows."""
    split: str | None = None
    """Split of a Hugging Face dataset to read."""


class ModelRecord(Record):
    """The base model of a run; the hashes bind the prompt to it, the name only says where it was found."""

    name: str
    weights: str
    tokenizer: str
    chat_template: str
    num_parameters: int
    dtype: str
    device: str
    path: str
    """`shared` or `plain`."""


class SourceRecord(Record):
    """One task that several are learned with."""

    task: str
    task_hash: str
    data_hash: str
    test_hash: str
    num_train: int
    num_validation: int
    left_out: int
    """Rows that are in the test set of some of the tasks; none was learned from."""
    teacher: str = ""
    """Hash of the prompt that it was distilled from; empty if there was none."""


class RunRecord(Record):
    """What a run is: written once, when it starts."""

    format: int = 1
    origin: Literal["tune", "import", "shared"] = "tune"
    created: str
    options: TuneOptions
    model: ModelRecord
    data_hash: str
    test_hash: str
    task_hash: str
    start_hash: str = ""
    """SHA-256 of the prompt of another run that tuning starts from; empty if it starts from none."""
    sources: tuple[SourceRecord, ...] = ()
    """Tasks that the prompt, or the one it starts from, was learned with; none for a task's own prompt."""
    sampling: str = ""
    """How rows were drawn from several tasks; empty where there is one."""
    environment: dict[str, str]


class SourceResult(Record):
    """What a shared prompt brought one of its tasks, on rows held out; in nats."""

    task: str
    log_loss_before: float
    log_loss: float


class SharedResult(Record):
    """What learning one prompt for several tasks found."""

    tasks: tuple[SourceResult, ...]
    steps: int
    best_step: int
    trained_parameters: int
    stored_bytes: int
    peak_memory_bytes: int
    base_is_unchanged: bool | None = None
    """None where a copy was changed."""
    seconds: float


class InstructionRecord(Record):
    """What an instruction-tuned copy of a base model was made of."""

    format: int = 1
    created: str
    base: ModelRecord
    options: TuneOptions
    """With a LoRA rank, an update of that rank was merged into the weights; else all were trained."""
    sources: tuple[SourceRecord, ...]
    sampling: str
    prompts: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of the soft prompts that stood in front, by task; in front of others stood words."""
    environment: dict[str, str]
    result: SharedResult | None = None
    """None until it is finished."""


class AdapterRecord(Record):
    """The LoRA adapter that belongs to a prompt; it has no dropout."""

    rank: int
    alpha: float
    learning_rate: float
    targets: tuple[str, ...] = ()
    """Layers that are changed, by the ends of their names; empty is every linear layer."""


class PromptRecord(Record):
    """The prompt that a run chose."""

    kind: Literal["soft", "text"]
    text: str
    """The text prompt that was chosen, or that the soft prompt started from."""
    method: str | None = None
    learning_rate: float | None = None
    seed: int | None = None
    num_tokens: int
    """Tokens or virtual tokens, in front of each row if no other placement is given."""
    placement: Placement = "front"
    num_placed_tokens: int = 0
    """Virtual tokens with places of their own, which rows are rendered with."""
    adapter: AdapterRecord | None = None


class WayRecord(Record):
    """One way of prompting the model, on the test split."""

    name: str
    num_rows: int
    score: float
    low: float
    high: float
    log_loss: float
    seconds: float
    """Time to make it: tuning, or the choice of demonstrations; 0 for words as given."""
    peak_memory_bytes: int
    """Most memory the process had used by the time this prompt was made."""
    trained_parameters: int
    stored_bytes: int


class CandidateRecord(Record):
    """One candidate, on held-out rows; without figures there if it was trained on all rows."""

    name: str
    method: str
    placement: Placement = "front"
    num_virtual_tokens: int
    learning_rate: float
    seed: int
    num_trainings: int
    """1, or one for each fold of a cross-validation; the figures are of all held-out rows together."""
    steps: int
    best_step: int
    score: float | None
    log_loss: float | None
    seconds: float


class BandRecord(Record):
    """The test score of the chosen setting over its seeds."""

    num_seeds: int
    minimum: float
    median: float
    maximum: float


class VerdictRecord(Record):
    """The chosen prompt against the text prompt, on the test split."""

    verdict: str
    difference: float
    low: float
    high: float
    num_rows: int
    needed_rows: int | None
    mcnemar_p: float | None
    sentence: str


class TuneResult(Record):
    """What a finished run found."""

    metric: str
    digits: int
    higher_is_better: bool
    num_train: int
    num_validation: int
    """Rows that were held out to choose settings and not trained on; 0 after a cross-validation."""
    num_folds: int
    """Folds of the cross-validation that chose the settings; 1 without one."""
    num_test: int
    ways: tuple[WayRecord, ...]
    candidates: tuple[CandidateRecord, ...]
    text_validation_log_loss: float
    start_gap: float
    """Largest difference in log-probability between the start and the text prompt, on a validation row."""
    verdict: VerdictRecord
    band: BandRecord | None
    test_reads: int
    """How often this test set has been read by runs in this folder, this one included."""
    base_is_unchanged: bool
    seconds: float
    """Of the session that ended the run, and what trainings had taken in sessions before it."""
