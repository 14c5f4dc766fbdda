import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import instruction_tuning
from benchmarks.instruction_tuning import WAYS, Comparison
from tests.recipes.task_folders import save_tasks
from tests.tiny_folder import ORDERS, TICKETS, save_tiny_model
from tuningfork.library.run_records import TuneOptions
from tuningfork.tasks.task import load_task


@pytest.mark.slow
def test_every_way_is_measured_on_the_same_rows_of_every_task(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save_tiny_model(tmp_path / "tiny")
    tasks = save_tasks(tmp_path / "tasks", {"tickets": TICKETS, "orders": ORDERS})
    given = ["--tasks", str(tasks), "--model", str(model), "--max-steps", "2", "--lora-rank", "2"]
    assert instruction_tuning.main(given) == 0
    *table, last = capsys.readouterr().out.splitlines()
    found = json.loads(last)
    assert list(found["scores"]) == [f"{task} {way}" for task in ("orders", "tickets") for way in WAYS]
    assert found["scores"].keys() == found["seconds"].keys()
    for task in ("orders", "tickets"):
        lines = [line for line in table if line.startswith(f"{task} ")]
        assert len(lines) == len(WAYS)
        assert len({line.split()[-2] for line in lines}) == 1
        assert found["seconds"][f"{task} base + text"] == 0
        assert all(found["seconds"][f"{task} {way}"] > 0 for way in WAYS[1:])


def test_words_in_front_of_a_copy_are_those_that_the_search_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no prompt beats the text, the copy is tuned and measured behind the text."""
    model = save_tiny_model(tmp_path / "tiny")
    task = load_task(save_tasks(tmp_path / "tasks", {"tickets": TICKETS}) / "tickets.task.yaml")
    # So slow that no prompt can be told from the text.
    options = TuneOptions(
        methods=("prompt_tuning",), learning_rates=(1e-12,), max_steps=1, num_seeds=1, refit="no"
    )
    (tmp_path / "work").mkdir()
    comparison = Comparison([task], str(model), tmp_path / "work", options, 2)
    runs = comparison._tuned("base", comparison._base, {})[1]
    assert runs["tickets"].load_prompt()[1] is None
    (cell,) = comparison._prompt_first(runs)
    assert (cell.way, cell.task) == ("prompt, then instructed", "tickets")
    instructed = comparison._instructed("again", ())[0]
    assert comparison._measured(task, cell.way, instructed, None, 0.0).score == cell.score


def test_quick_takes_the_tasks_with_labels_and_few_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, Any] = {}

    class Recorded(Comparison):
        def __init__(self, tasks: list[object], *others: object) -> None:
            asked.update(tasks=tasks, options=others[2], rank=others[3])

        def cells(self) -> list[instruction_tuning.Cell]:
            return []

    monkeypatch.setattr(instruction_tuning, "Comparison", Recorded)
    tasks = save_tasks(tmp_path / "tasks")
    instruction_tuning.main(["--tasks", str(tasks), "--quick", "--full"])
    assert [task.name for task in asked["tasks"]] == ["tickets"]
    assert (asked["options"].limit, asked["options"].max_steps, asked["rank"]) == (16, 2, None)
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["is_quick"]
