"""What a run writes down, as it stands in its JSON files."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from tuningfork.training.arguments import TrainingArguments
from tuningfork.tuning.soft.defaults import Placement
from tuningfork.types import Combine, Composition

LearningRate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


NO_PROMPT, TEXT_PROMPT, TUNED_PROMPT = "no prompt", "text prompt", "tuned prompt"
"""Names of the ways of prompting that every result of `tune` has."""
MOST_FREQUENT_TAG = "most frequent tag"
"""What takes the place of the first two where words are tagged: always the tag of most training words."""
COMPOSED_PROMPT = "composed prompt"
"""The name of a prompt that was made of others, in place of a tuned one."""


class Record(BaseModel):
    """Base of the records: immutable, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TuneOptions(Record):
    """What was asked of `tune`; together with data, task and model it decides the result."""

    model: str = "bundled"
    device: str = "auto"
    dtype: str = "auto"
    quantize: Literal["none", "8bit", "4bit"] = "none"
    """How many bits the weights of linear layers are held in; none leaves them as they are stored."""
    methods: tuple[str, ...] = ()
    """Soft-prompt methods to try; empty tries all that the model can take."""
    learning_rates: tuple[LearningRate, ...] = ()
    """Peak learning rates to try; empty takes each method's own."""
    placements: tuple[Placement, ...] = ()
    """Where virtual tokens stand; empty is at the markers of the prompt or, if it has none, in front, and
    where no methods are named, other places are tried too."""
    initializations: tuple[str, ...] = Field(default=("text",), min_length=1)
    """Where virtual tokens start; of several the search chooses."""
    start_from: str | None = None
    """Folder of a run whose virtual tokens take the place of the text prompt's at the start."""
    objective: Literal["auto", "labels", "tokens"] = "auto"
    """What training minimises; auto tells labels apart in classification and learns tokens elsewhere."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target that all labels get alike in training; validation and test are not smoothed."""
    head: bool = False
    """Whether a head that tells labels apart is trained with each prompt, in place of words."""
    num_virtual_tokens: tuple[PositiveInt, ...] = ()
    """P; of several, in front, the search chooses, and none takes the number of tokens of the text prompt."""
    max_steps: int = Field(default=100, ge=1)
    batch_size: int = Field(default=16, ge=1)
    micro_batch_size: int = Field(default=16, ge=1)
    bank_size: int = Field(default=8, ge=1)
    """Trainings side by side in the same forwards; 1 runs them one after the other."""
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    weight_decay: float = Field(default=0.0, ge=0)
    validate_every: int = Field(default=10, ge=1)
    patience: int = Field(default=5, ge=0)
    checkpoint_every: int = Field(default=10, ge=1)
    seed: int = 0
    """Split, order of the rows and everything drawn at random."""
    num_seeds: int = Field(default=3, ge=1)
    """Trainings of the chosen setting, each with another order of the rows."""
    num_searched_seeds: int = Field(default=1, ge=1)
    """Seeds of every setting that take part in the search."""
    ensemble: bool = False
    """Whether these trainings answer together: K times the memory of a prompt, each row run K times."""
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
    gradient_checkpointing: bool = False
    """Whether layers run again in the backward pass instead of keeping what they made; same result."""
    skip_bad_rows: bool = False
    limit: int | None = Field(default=None, ge=1)
    """Read at most this many rows."""
    split: str | None = None
    """Split of a Hugging Face dataset to read."""

    def training_arguments(self, learning_rate: float, seed: int | None = None) -> TrainingArguments:
        """Settings of a training at `learning_rate`; `seed` is by default that of the run."""
        return TrainingArguments(
            learning_rate=learning_rate,
            max_steps=self.max_steps,
            batch_size=self.batch_size,
            micro_batch_size=self.micro_batch_size,
            schedule=self.schedule,
            weight_decay=self.weight_decay,
            validate_every=self.validate_every,
            patience=self.patience,
            checkpoint_every=self.checkpoint_every,
            seed=self.seed if seed is None else seed,
        )

    @model_validator(mode="before")
    @classmethod
    def _read_single_values(cls, given: Any) -> Any:
        """Earlier runs name one start and one length."""
        if isinstance(given, dict):
            given = dict(given)
            if "initialization" in given:
                given["initializations"] = (given.pop("initialization"),)
            length = given.get("num_virtual_tokens", ())
            if length is None or isinstance(length, int):
                given["num_virtual_tokens"] = () if length is None else (length,)
        return given


class ModelRecord(Record):
    """The base model of a run; the hashes bind the prompt to it, the name only says where it was found."""

    name: str
    weights: str
    tokenizer: str
    chat_template: str
    num_parameters: int
    dtype: str
    quantize: str = "none"
    device: str
    path: str
    """`shared`, `plain` or `encoder`."""


class PartRecord(Record):
    """A prompt of a finished run that another was made of."""

    run: str
    """Where that run lay."""
    sha256: str
    """Of the file of its tensors."""
    task_hash: str
    """Of the task that it was made for."""
    weight: float | None = None
    """Its share of an average."""


class CompositionRecord(Record):
    """How a prompt was made of others, without training."""

    how: Composition
    parts: tuple[PartRecord, ...]


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
    origin: Literal["tune", "import", "compose", "shared", "text", "optimize"] = "tune"
    """What made it; `text` stands for words that nothing was learned for."""
    created: str
    options: TuneOptions
    model: ModelRecord
    data_hash: str
    test_hash: str
    task_hash: str
    start_hash: str = ""
    """SHA-256 of the prompt of another run that tuning starts from; empty if it starts from none."""
    composition: CompositionRecord | None = None
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
    sha256: str = ""
    """Of the files of the adapter; empty where that was not kept."""


class MemberRecord(Record):
    """One of several prompts that answer together."""

    file: str
    """Its tensors, in the folder of the run."""
    sha256: str
    """Of that file."""
    method: str | None = None
    learning_rate: float | None = None
    seed: int | None = None
    num_tokens: int
    placement: Placement = "front"
    num_placed_tokens: int = 0


class PromptRecord(Record):
    """The prompt that a run chose."""

    kind: Literal["soft", "text", "tag"]
    """A soft prompt; the text prompt; or, where words are tagged, the most frequent tag."""
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
    members: tuple[MemberRecord, ...] = ()
    """Prompts that answer together, this one first; none if it answers alone."""
    combine: Combine | None = None
    adapter: AdapterRecord | None = None


class MetricRecord(Record):
    """A further metric of a way of prompting."""

    name: str
    value: float
    digits: int
    low: float | None = None
    high: float | None = None
    note: str = ""
    """What must be known to read it."""
    higher_is_better: bool = True


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
    metrics: tuple[MetricRecord, ...] = ()
    """What the task names beside its metric, and can be had here."""


class CandidateRecord(Record):
    """One candidate, on held-out rows; without figures there if it was trained on all rows."""

    name: str
    method: str
    placement: Placement = "front"
    initialization: str = "text"
    adapter: AdapterRecord | None = None
    """The LoRA adapter that was learned beside the prompt, if any."""
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
    margin: float | None = None
    """Smallest difference that matters, from the task file."""
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
    start_gap: float | None
    """Largest difference in log-probability between the start and the text prompt, on a validation row; None
    where nothing was trained."""
    advice: tuple[str, ...] = ()
    """What the losses of the search say about its settings."""
    verdict: VerdictRecord
    band: BandRecord | None
    answer: str = TUNED_PROMPT
    """The way of prompting that the run answers with, and that the verdict is on."""
    test_reads: int
    """How often this test set has been read by runs in this folder, this one included."""
    base_is_unchanged: bool
    seconds: float
    """Of the session that ended the run, and what trainings had taken in sessions before it."""

    @property
    def baseline(self) -> str:
        """The way of prompting that the verdict compares with."""
        return TEXT_PROMPT if any(way.name == TEXT_PROMPT for way in self.ways) else MOST_FREQUENT_TAG
