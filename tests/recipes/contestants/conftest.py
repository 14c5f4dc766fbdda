"""What contestants meet: the tiny model, few rows, few steps, and test rows that nobody may touch."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.recipes.conftest import RecordingSink
from tests.recipes.conftest import model as model
from tests.recipes.conftest import model_folder as model_folder
from tests.recipes.conftest import sink as sink
from tests.recipes.conftest import tasks as tasks
from tuningfork.data.example import Example
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.contestants.contestant import Arena
from tuningfork.recipes.preparation import prepare
from tuningfork.tasks.task import Task

MakeArena = Callable[..., Arena]


class Untouchable(Sequence[Example]):
    """Rows that fail whoever looks at them."""

    def __getitem__(self, index: Any) -> Any:
        raise AssertionError("looked at a test row")

    def __len__(self) -> int:
        raise AssertionError("looked at the number of test rows")


@pytest.fixture
def arena_of(tasks: dict[str, Task], model: FrozenModel, sink: RecordingSink) -> MakeArena:
    """Makes an arena for a kind of task; further arguments are options."""

    def made(kind: str = "classification", **changes: Any) -> Arena:
        options = TuneOptions(
            methods=("prompt_tuning",), max_steps=4, validate_every=2, num_seeds=2, batch_size=4
        ).model_copy(update=changes)
        prepared = prepare(tasks[kind], model, options, sink)
        return Arena(model, replace(prepared, test=Untouchable()), options, sink)

    return made
