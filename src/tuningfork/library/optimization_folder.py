"""A search for a better text prompt on disk: what was asked, every score, what came out."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from tuningfork.atomic import write_text
from tuningfork.errors import RunError
from tuningfork.library.comparison_folder import RemoteOptions
from tuningfork.library.numbered_folders import new_folder, read_record
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import (
    PromptRecord,
    Record,
    RunRecord,
    TuneOptions,
    TuneResult,
    VerdictRecord,
)
from tuningfork.tasks.task import Task, load_task, save_task

OPTIMIZED_PROMPT = "optimized prompt"
"""The way of prompting that a search answers with."""
ProposerName = Literal["rules", "model", "endpoint"]
_PLAN, _RESULT, _LOG = "optimization_plan.json", "optimization.json", "search.jsonl"
_START, _TASK = "start.yaml", "task.yaml"
_RUN, _PROMPT, _RUN_RESULT = "run.json", "prompt.json", "result.json"


class OptimizationOptions(Record):
    """What was asked of `optimize`; together with data, task and model it decides the result."""

    tuning: TuneOptions
    """Model, number format, seed and rows; nothing is trained."""
    strategies: tuple[str, ...] = ()
    """Names of the registry, in order; empty takes the usual ones."""
    proposer: ProposerName = "rules"
    """Who writes instructions: rules, the model itself, or a model behind an address."""
    proposer_remote: RemoteOptions | None = None
    """The model behind an address that writes instructions; None takes `remote`."""
    remote: RemoteOptions | None = None
    """The model behind an address that the prompt is for; None is the local one."""
    prices: str | None = None
    """File of prices that a limit of money is counted with."""
    budget_calls: int = Field(default=1000, ge=1)
    """Metric calls: one candidate on one row, choice on validation rows included."""
    budget_seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    budget_money: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    most_demonstrations: int = Field(default=8, ge=0)
    num_finalists: int = Field(default=4, ge=1)
    """Candidates that validation rows choose from, beside the hand-written prompt."""


class OptimizationPlan(Record):
    """What a search is: written once, when it starts."""

    format: int = 1
    created: str
    options: OptimizationOptions
    run: RunRecord | None = None
    """Hashes of data, task and local model, and where it ran; None for a model behind an address."""
    data_hash: str
    test_hash: str
    task_hash: str


class FinalistRecord(Record):
    """A prompt that validation rows judged."""

    prompt: str
    strategy: str
    """What proposed it; empty for the hand-written one."""
    num_demonstrations: int
    train_score: float | None
    """Mean over the training rows it was scored on."""
    validation_score: float | None
    """The task's metric."""
    validation_log_loss: float | None = None
    is_chosen: bool = False


class ScoreRecord(Record):
    """A prompt on the test rows."""

    score: float
    low: float
    high: float


class SpentRecord(Record):
    """What a search took of its budget."""

    calls: int
    seconds: float
    money: float
    ended_by: Literal["calls", "seconds", "money", "nothing new"]


class OptimizationResult(Record):
    """What a finished search found."""

    format: int = 1
    task: str
    model: str
    metric: str
    digits: int
    higher_is_better: bool
    strategies: tuple[str, ...]
    proposer: str
    num_train: int
    num_scored: int
    """Training rows that candidates were scored on."""
    num_validation: int
    num_test: int
    spent: SpentRecord
    num_candidates: int
    """Different prompts that were tried, the hand-written one included."""
    num_rejected: int
    """Of these, dropped before they were scored on all rows."""
    finalists: tuple[FinalistRecord, ...]
    """Best on validation first."""
    prompt: str
    """The prompt that was chosen."""
    is_hand_written: bool
    """Whether nothing beat the hand-written prompt on validation, so that it was kept."""
    hand_written: ScoreRecord
    optimized: ScoreRecord
    verdict: VerdictRecord
    """The chosen prompt against the hand-written one, on the test rows."""
    test_reads: int
    seconds: float
    """Of the session that ended the search, and what scores had taken before it."""


class OptimizationFolder:
    """One search.

    ```
    optimization_plan.json  options, hashes of data, task and model, environment
    start.yaml              the task as it was given
    search.jsonl            every score and proposal; what a search goes on from
    task.yaml               the task with the prompt that was chosen
    optimization.json       the figures
    run.json, prompt.json, result.json, test_predictions.jsonl
                            the same as a run, if the prompt is for a local model
    ```
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, parent: Path, plan: OptimizationPlan, task: Task) -> "OptimizationFolder":
        """Make a new folder `<task>-optimized-<number>` in `parent` for a search that starts."""
        path = new_folder(parent, task.name, "optimized")
        save_task(task, path / _START)
        write_text(path / _PLAN, plan.model_dump_json(indent=2))
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> "OptimizationFolder":
        """The search at `path`.

        Raises:
            RunError: There is none.
        """
        if not is_optimization(path):
            raise RunError(f"{path}: no search here (no {_PLAN}); start one with: tuningfork optimize TASK")
        return cls(path)

    @property
    def plan(self) -> OptimizationPlan:
        """What was asked, of what."""
        return read_record(self.path / _PLAN, OptimizationPlan)

    @property
    def start(self) -> Task:
        """The task as it was given."""
        return load_task(self.path / _START)

    @property
    def log_path(self) -> Path:
        """Where scores and proposals lie."""
        return self.path / _LOG

    @property
    def task_path(self) -> Path:
        """Where the task with the chosen prompt lies, once the search is finished."""
        return self.path / _TASK

    @property
    def is_finished(self) -> bool:
        """Whether a prompt was chosen and measured."""
        return (self.path / _RESULT).is_file()

    @property
    def is_run(self) -> bool:
        """Whether it can be used as a run, which needs a local model."""
        return (self.path / _RUN).is_file()

    @property
    def result(self) -> OptimizationResult:
        """What was found.

        Raises:
            RunError: It is not finished; the message says how to resume it.
        """
        if not self.is_finished:
            raise RunError(
                f"{self.path}: this search is not finished; "
                f"go on with: tuningfork optimize --resume {self.path}"
            )
        return read_record(self.path / _RESULT, OptimizationResult)

    def save_task(self, task: Task) -> None:
        """Write the task with the chosen prompt."""
        save_task(task, self.task_path)

    def save_run(self, record: RunRecord, prompt: PromptRecord, result: TuneResult) -> RunFolder:
        """Write what makes it a run as well; its task is there already."""
        write_text(self.path / _PROMPT, prompt.model_dump_json(indent=2))
        write_text(self.path / _RUN_RESULT, result.model_dump_json(indent=2))
        write_text(self.path / _RUN, record.model_dump_json(indent=2))
        return RunFolder.open(self.path)

    def save_result(self, result: OptimizationResult) -> None:
        """Write what was found, which marks the search as finished."""
        write_text(self.path / _RESULT, result.model_dump_json(indent=2))


def is_optimization(path: Path) -> bool:
    """Whether a search lies at `path`, finished or not."""
    return (path / _PLAN).is_file()
