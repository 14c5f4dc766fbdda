import re

import pytest

from tests.recipes.conftest import RecordingSink
from tuningfork.data.store import load_examples
from tuningfork.recipes.demo import DEMO_TASKS, DemoTask, examples_folder
from tuningfork.recipes.task_file import columns_of
from tuningfork.recipes.tune import plan
from tuningfork.tasks.task import load_task
from tuningfork.tuning.soft.registry import SOFT_METHODS


def test_the_demo_shows_both_kinds_of_task() -> None:
    types = {load_task(examples_folder() / demo_task.folder / "task.yaml").type for demo_task in DEMO_TASKS}
    assert types == {"generation", "classification"}


@pytest.mark.parametrize("demo_task", DEMO_TASKS, ids=lambda demo_task: demo_task.folder)
def test_task_loads_its_rows_and_its_options_are_valid(demo_task: DemoTask) -> None:
    task = load_task(examples_folder() / demo_task.folder / "task.yaml")
    assert set(demo_task.options.methods) <= set(SOFT_METHODS)
    assert demo_task.options.model == "bundled"
    train = load_examples(task.data.train, columns_of(task)).examples
    assert str(len(train)) in demo_task.title
    assert task.data.test is not None
    assert len(load_examples(task.data.test, columns_of(task)).examples) >= 20


@pytest.mark.parametrize("demo_task", DEMO_TASKS, ids=lambda demo_task: demo_task.folder)
def test_plan_on_the_bundled_model_starts_from_the_text_prompt(
    demo_task: DemoTask, sink: RecordingSink
) -> None:
    plan(load_task(examples_folder() / demo_task.folder / "task.yaml"), demo_task.options, sink=sink)
    data, announced = sink.messages[-2:]
    assert re.match(r"Data      \d+ train, in 3 folds to choose settings / \d+ test \(test from ", data)
    assert announced.endswith("step 0 equals the text prompt")
