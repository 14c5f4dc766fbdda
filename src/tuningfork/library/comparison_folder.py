"""A comparison on disk: what was asked, what each contestant came to, what came out."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field

from tuningfork.atomic import write_text
from tuningfork.errors import RunError
from tuningfork.evaluation.comparison import ComparisonRecord, ContestantRecord, SeedRecord, Setting
from tuningfork.library.numbered_folders import folder_name, new_folder, read_record
from tuningfork.library.run_records import Record, RunRecord, TuneOptions
from tuningfork.tasks.task import Task, load_task, save_task

FEWEST_ROWS_OF_A_CURVE = 4
HTML_REPORT, MARKDOWN_REPORT = "report.html", "report.md"
COMPARISON_FILE = "comparison.json"
_PLAN, _TASK = "plan.json", "task.yaml"
_WORK, _CURVES = "work", "curves"
_RECORD, _ANSWERS, _SETTING = "contestant.json", "answers", "setting.json"


class RemoteOptions(Record):
    """A model behind an API that takes part; the key itself is nowhere."""

    model: str
    base_url: str
    key_variable: str | None = None
    """Name of the environment variable that holds the key."""
    allows_insecure: bool = False
    max_calls: int | None = Field(default=None, ge=1)


class ComparisonOptions(Record):
    """What was asked of `compare`; together with data, task and model it decides the result."""

    tuning: TuneOptions
    """Steps, seeds, early stopping and model for all; its methods are the soft prompts that take part."""
    contestants: tuple[str, ...] = ()
    """Names of the registry; empty takes the usual ones."""
    budget_seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Wall time that each contestant may take to choose and train; None is no limit."""
    curve_sizes: tuple[Annotated[int, Field(ge=FEWEST_ROWS_OF_A_CURVE)], ...] = ()
    """Numbers of examples to train on beside all of them; none draws no learning curves."""
    remote: RemoteOptions | None = None
    """A model behind an API that takes part with the text prompt, if any."""
    prices: str | None = None
    """File of prices that calls are counted with; None looks where TUNINGFORK_PRICES says, if anywhere."""
    jobs: int | None = Field(default=1, ge=1)
    """Contestants that are made at once, each in a process of its own; None is as many as the machine has
    cores and memory for. A script that asks for more than one needs `if __name__ == "__main__":`."""


class ComparisonPlan(Record):
    """What a comparison is: written once, when it starts."""

    format: int = 1
    run: RunRecord
    """Hashes of data, task and model, and where it ran."""
    options: ComparisonOptions
    contestants: tuple[str, ...]
    """What reports call them, in order."""
    test_reads: int
    """How often this test set has been read by runs in this folder, this comparison included."""
    command: str = ""
    """What makes the comparison again, as it was typed."""


class ComparisonFolder:
    """One comparison.

    ```
    plan.json             options, hashes of data, task and model, environment
    task.yaml             the task as it was used
    work/<contestant>/    its checkpoints, what it has spent so far, and
      setting.json          what was chosen, by which its seeds answer
      answers/<seed>.json   what that seed answered on the test split
      contestant.json       the contestant, once it is measured
    curves/<rows>/<contestant>/   the same, trained on so many rows
    comparison.json       the figures
    report.html, report.md   the report
    ```
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, parent: Path, name: str) -> "ComparisonFolder":
        """Make a new, empty folder `<name>-comparison-<number>` in `parent`."""
        return cls(new_folder(parent, name, "comparison"))

    @classmethod
    def open(cls, path: Path) -> "ComparisonFolder":
        """The comparison at `path`.

        Raises:
            RunError: if there is none.
        """
        if not is_comparison(path):
            raise RunError(f"{path}: no comparison here (no {_PLAN}); make one with: tuningfork compare TASK")
        return cls(path)

    def begin(self, plan: ComparisonPlan, task: Task) -> None:
        """Write down what the comparison is."""
        save_task(task, self.path / _TASK)
        write_text(self.path / _PLAN, plan.model_dump_json(indent=2))

    @property
    def plan(self) -> ComparisonPlan:
        """What was asked, of what."""
        return read_record(self.path / _PLAN, ComparisonPlan)

    @property
    def task(self) -> Task:
        """The task as it was used."""
        return load_task(self.path / _TASK)

    @property
    def is_finished(self) -> bool:
        """Whether all has been measured and judged."""
        return (self.path / COMPARISON_FILE).is_file()

    def check_unfinished(self) -> None:
        """Check that there is something left to measure.

        Raises:
            RunError: if there is not.
        """
        if self.is_finished:
            raise RunError(
                f"{self.path}: this comparison is finished; see it with: tuningfork show {self.path}"
            )

    @property
    def record(self) -> ComparisonRecord:
        """What was found.

        Raises:
            RunError: if there is none, or it is not finished; the message says how to resume it.
        """
        if not self.is_finished:
            ComparisonFolder.open(self.path)
            raise RunError(
                f"{self.path}: this comparison is not finished; "
                f"go on with: tuningfork compare --resume {self.path}"
            )
        return read_record(self.path / COMPARISON_FILE, ComparisonRecord)

    def save_record(self, record: ComparisonRecord) -> None:
        """Write what was found, which marks the comparison as finished."""
        write_text(self.path / COMPARISON_FILE, record.model_dump_json(indent=2))

    def save_text(self, name: str, text: str) -> Path:
        """Write a file that people read, and return where it lies."""
        write_text(self.path / name, text)
        return self.path / name

    def work(self, contestant: str, num_train: int | None = None) -> "ContestantFolder":
        """Where a contestant works that is trained on all rows, or on so many of them."""
        parent = self.path / _WORK if num_train is None else self.path / _CURVES / str(num_train)
        return ContestantFolder(parent / folder_name(contestant))


class ContestantFolder:
    """Where one contestant keeps what it needs to go on after a kill, and what it came to."""

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path = path

    @property
    def record(self) -> ContestantRecord | None:
        """What it came to; None while it is not measured."""
        path = self.path / _RECORD
        return read_record(path, ContestantRecord) if path.is_file() else None

    def save_record(self, record: ContestantRecord) -> None:
        """Write what it came to; it is not measured again."""
        write_text(self.path / _RECORD, record.model_dump_json(indent=2))

    def answer_as(self, setting: Mapping[str, Setting]) -> None:
        """Say what answers from now on; what another setting answered before is forgotten.

        A contestant that goes on after a kill comes to the setting that it had. Where it could not, because
        time ran out elsewhere, its seeds must not answer as two different ones.
        """
        path, now = self.path / _SETTING, json.dumps(dict(setting), sort_keys=True)
        if path.is_file() and path.read_text(encoding="utf-8") == now:
            return
        for answered in (self.path / _ANSWERS).glob("*.json"):
            answered.unlink()
        write_text(path, now)

    def answers(self, seed: int) -> SeedRecord | None:
        """What a seed answered on the test split; None if it was not asked yet."""
        path = self._answers_path(seed)
        return read_record(path, SeedRecord) if path.is_file() else None

    def save_answers(self, answers: SeedRecord) -> None:
        """Write what a seed answered on the test split; it is not asked again."""
        write_text(self._answers_path(answers.seed), answers.model_dump_json())

    def _answers_path(self, seed: int) -> Path:
        return self.path / _ANSWERS / f"{seed}.json"


def is_comparison(path: Path) -> bool:
    """Whether a comparison lies at `path`, finished or not."""
    return (path / _PLAN).is_file()
