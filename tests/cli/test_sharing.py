import json
from pathlib import Path

import pytest

from tests.commands import invoke, tune
from tests.recipes.task_folders import save_tasks

QUICK = ("--max-steps", "2", "--virtual-tokens", "4")


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    return save_tasks(tmp_path / "tasks")


def test_a_shared_prompt_is_learned_shown_and_started_from(tasks: Path, model: Path, tmp_path: Path) -> None:
    completed = invoke(
        tmp_path, "tune-shared", tasks, "-o", "runs/shared", "--model", model, *QUICK, columns=200
    )
    assert completed.code == 0, completed.stderr
    assert "tune TASK --method multitask_prompt_tuning --start-from runs/shared" in completed.stdout
    shown = invoke(tmp_path, "show", "runs/shared", columns=200)
    assert shown.code == 0, shown.stderr
    assert shown.stdout.splitlines()[0] in completed.stdout
    assert "shared by 3 tasks" in invoke(tmp_path, "show", columns=200).stdout
    described = json.loads(invoke(tmp_path, "show", "runs/shared", "--json").stdout)
    assert [task["task"] for task in described["result"]["tasks"]] == ["orders", "replies", "tickets"]
    run = tune(tmp_path, model, tasks / "tickets.task.yaml", "--start-from", "runs/shared")
    recorded = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert [source["task"] for source in recorded["sources"]] == ["orders", "replies", "tickets"]


def test_as_json_and_as_a_plan(tasks: Path, model: Path, tmp_path: Path) -> None:
    planned = invoke(tmp_path, "tune-shared", tasks, "-o", "out", "--model", model, *QUICK, "--dry-run")
    assert planned.code == 0, planned.stderr
    assert not (tmp_path / "out").exists()
    completed = invoke(tmp_path, "tune-shared", tasks, "-o", "out", "--model", model, *QUICK, "--json")
    assert completed.code == 0, completed.stderr
    result = json.loads(completed.stdout)
    assert (result["path"], len(result["result"]["tasks"])) == ("out", 3)


def test_an_interruption_says_how_to_go_on(
    tasks: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tuningfork.recipes.tune_shared.tune_shared", interrupt)
    completed = invoke(tmp_path, "tune-shared", tasks, "-o", "out", "--model", model)
    assert completed.code == 130
    assert "go on with the same command and --resume" in completed.stderr
