from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_folder import ROWS, save_tiny_model, write_rows
from tuningfork.data.example import Example
from tuningfork.data.splits import cross_validation_folds
from tuningfork.evaluation.evaluate import Evaluator
from tuningfork.events import Event, Notice, NullSink
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.loading import load_model
from tuningfork.recipes.preparation import Prepared, prepare
from tuningfork.recipes.search_space import SearchSpace, search_space
from tuningfork.recipes.task_file import draft_task_file
from tuningfork.recipes.tune import tune
from tuningfork.tasks.rendering import RowRenderer
from tuningfork.tasks.task import Task
from tuningfork.training.loop import Validate


@dataclass
class RecordingSink:
    """Keeps every event."""

    events: list[Event] = field(default_factory=list)

    def emit(self, event: Event) -> None:
        self.events.append(event)

    @property
    def messages(self) -> list[str]:
        return [event.message for event in self.events if isinstance(event, Notice)]


@dataclass
class Setting:
    """A search on the generation task."""

    model: FrozenModel
    prepared: Prepared
    options: TuneOptions

    def space(self, **changes: Any) -> SearchSpace:
        return replace(search_space(self.model, self.prepared, self.options, self._judge), **changes)

    def with_options(self, **changes: Any) -> SearchSpace:
        return replace(self, options=self.options.model_copy(update=changes)).space()

    def cross_validated(self, **changes: Any) -> SearchSpace:
        """Three folds of the rows, and all of them for the last training."""
        folds = cross_validation_folds(self.prepared.rows, 3, seed=0)
        options = self.options.model_copy(update={"methods": ("prompt_tuning",), **changes})
        divided = Setting(self.model, replace(self.prepared, folds=folds), options)
        return divided.space()

    def _judge(self, renderer: RowRenderer, held_out: Sequence[Example]) -> Validate:
        evaluator = Evaluator(self.model, self.prepared.task, renderer)
        return lambda prefix: evaluator.validate(prefix, held_out, generates=False)


@pytest.fixture
def setting(tasks: dict[str, Task], model: FrozenModel, sink: RecordingSink) -> Setting:
    options = TuneOptions(max_steps=8, validate_every=2, batch_size=4, num_seeds=2, patience=0, refit="no")
    return Setting(model, prepare(tasks["generation"], model, options, sink), options)


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
