from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.tiny_folder import ROWS, save_tiny_model, write_rows
from tuningfork.events import Event, Notice, NullSink
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.loading import load_model
from tuningfork.recipes.task_file import draft_task_file
from tuningfork.recipes.tune import tune
from tuningfork.tasks.task import Task


@dataclass
class RecordingSink:
    """Keeps every event."""

    events: list[Event] = field(default_factory=list)

    def emit(self, event: Event) -> None:
        self.events.append(event)

    @property
    def messages(self) -> list[str]:
        return [event.message for event in self.events if isinstance(event, Notice)]


@pytest.fixture
def sink() -> RecordingSink:
    return RecordingSink()


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def model(model_folder: Path) -> FrozenModel:
    return load_model(str(model_folder))


@pytest.fixture(scope="session")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Task]:
    """A drafted task of every kind, with its rows beside it; not to be changed."""
    folder = tmp_path_factory.mktemp("tasks")
    return {
        kind: draft_task_file(str(write_rows(folder / f"{kind}.jsonl", rows)), sink=NullSink())[0]
        for kind, rows in ROWS.items()
    }


@pytest.fixture(scope="session")
def options(model_folder: Path) -> TuneOptions:
    """As few steps as still change the prompt."""
    return TuneOptions(
        model=str(model_folder),
        methods=("prompt_tuning",),
        learning_rates=(0.1,),
        max_steps=4,
        num_seeds=1,
        refit="no",
    )


@pytest.fixture(scope="session")
def finished(
    tasks: dict[str, Task], options: TuneOptions, tmp_path_factory: pytest.TempPathFactory
) -> RunFolder:
    """A finished run of the classification task; not to be changed."""
    return tune(tasks["classification"], options, runs_folder=tmp_path_factory.mktemp("work") / "runs")
