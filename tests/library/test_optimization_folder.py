from pathlib import Path

import pytest

from tuningfork.errors import RunError
from tuningfork.library.optimization_folder import (
    OptimizationFolder,
    OptimizationOptions,
    OptimizationPlan,
    is_optimization,
)
from tuningfork.library.run_records import TuneOptions
from tuningfork.tasks.task import Task, TaskData

TASK = Task(
    name="Tea / milk",
    type="generation",
    data=TaskData(train="/rows.jsonl", inputs={"text": "text"}, target="answer"),
    prompt="Say: {{text}}",
    metric="chrf",
)
PLAN = OptimizationPlan(
    created="now",
    options=OptimizationOptions(tuning=TuneOptions()),
    data_hash="d",
    test_hash="t",
    task_hash="h",
)


def test_a_folder_keeps_what_was_asked(tmp_path: Path) -> None:
    folder = OptimizationFolder.create(tmp_path, PLAN, TASK)
    assert OptimizationFolder.create(tmp_path, PLAN, TASK).path.name == "Tea-milk-optimized-2"
    opened = OptimizationFolder.open(folder.path)
    assert opened.path.name == "Tea-milk-optimized-1"
    assert opened.plan == PLAN
    assert opened.start == TASK
    assert is_optimization(folder.path)
    assert not opened.is_finished
    assert not opened.is_run


def test_what_is_missing_or_damaged_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no search here"):
        OptimizationFolder.open(tmp_path)
    folder = OptimizationFolder.create(tmp_path, PLAN, TASK)
    with pytest.raises(RunError, match="not finished; go on with: tuningfork optimize --resume"):
        _ = folder.result
    (folder.path / "optimization_plan.json").write_text("{}")
    with pytest.raises(RunError, match="cannot be read"):
        _ = folder.plan
