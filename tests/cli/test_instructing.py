import json
from pathlib import Path

import pytest

from tests.commands import invoke, tune
from tests.recipes.task_folders import save_tasks


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    return save_tasks(tmp_path / "tasks")


def test_the_copy_is_told_of_and_answers_with_the_prompt(tasks: Path, model: Path, tmp_path: Path) -> None:
    run = tune(tmp_path, model, tasks / "tickets.task.yaml")
    completed = invoke(
        tmp_path,
        "instruct",
        tasks,
        "-o",
        "out",
        "-m",
        model,
        "--max-steps",
        "2",
        "--prompt",
        run,
        columns=200,
    )
    assert completed.code == 0, completed.stderr
    lines = completed.stdout.splitlines()
    assert lines[-3:] == [
        "Saved     out",
        "Try       tuningfork tune TASK --model out",
        'Prompt    tuningfork run out/prompt-1 "..."  (tickets)',
    ]
    assert any(line.split()[:1] == ["tickets"] for line in lines)
    answered = invoke(tmp_path, "run", "out/prompt-1", "refund 3")
    assert answered.code == 0, answered.stderr
    assert answered.stdout.strip() in ("billing", "tech_team")


def test_as_json_and_as_a_plan(tasks: Path, model: Path, tmp_path: Path) -> None:
    given = ("instruct", tasks, "-o", "out", "--model", model, "--max-steps", "1")
    planned = invoke(tmp_path, *given, "--dry-run")
    assert planned.code == 0, planned.stderr
    assert "LoRA of rank 16 of a copy" in planned.stdout.replace("\n", " ")
    assert not (tmp_path / "out").exists()
    completed = invoke(tmp_path, *given, "--json")
    assert completed.code == 0, completed.stderr
    found = json.loads(completed.stdout)
    assert (found["path"], found["record"]["result"]["steps"]) == ("out", 1)


def test_an_interruption_says_how_to_go_on(
    tasks: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tuningfork.recipes.instruct.instruct", interrupt)
    completed = invoke(tmp_path, "instruct", tasks, "-o", "out", "--model", model)
    assert completed.code == 130
    assert "go on with the same command and --resume" in completed.stderr
