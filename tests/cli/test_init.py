from pathlib import Path

import pytest

from tests.commands import QUICK, call, invoke, listing
from tests.tiny_folder import ROWS, TICKETS, write_rows
from tuningfork.errors import TaskError
from tuningfork.tasks.task import load_task

# What the rows are, and the type and metric that must come of them.
EXPECTED = {
    "classification": ("classification", "accuracy"),
    "generation": ("generation", "chrf"),
    "extraction": ("extraction", "field_f1"),
    "messages": ("generation", "chrf"),
}


@pytest.mark.parametrize("kind", ROWS)
def test_task_file_is_drafted_and_tune_accepts_it(kind: str, model: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", ROWS[kind])
    printed = call(tmp_path, "init", "rows.jsonl")
    task_type, metric = EXPECTED[kind]
    for line in (
        f"Read {len(ROWS[kind])} examples from rows.jsonl. Guessed from the columns: ",
        f"Type {task_type}: ",
        f"Metric {metric}: ",
        f"Task      rows ({task_type}, {metric}), saved as rows.task.yaml",
        "Next      tuningfork tune rows.task.yaml",
    ):
        assert line in printed
    assert listing(tmp_path) == ["rows.jsonl", "rows.task.yaml"]
    task = load_task(tmp_path / "rows.task.yaml")
    assert (task.type, task.metric) == (task_type, metric)
    plan = call(tmp_path, "tune", "rows.task.yaml", "--model", model, "--dry-run", *QUICK)
    assert "Plan      1 " in plan
    assert listing(tmp_path) == ["rows.jsonl", "rows.task.yaml"]


def test_existing_file_is_overwritten_only_by_force(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", TICKETS)
    task = tmp_path / "rows.task.yaml"
    task.write_text("mine", encoding="utf-8")
    with pytest.raises(
        TaskError, match=r"rows\.task\.yaml: exists already; edit it, or pass --force to draft it anew"
    ):
        call(tmp_path, "init", "rows.jsonl")
    assert task.read_text(encoding="utf-8") == "mine"
    call(tmp_path, "init", "rows.jsonl", "--force")
    assert load_task(task).type == "classification"


def test_columns_test_set_and_place_can_be_named(tmp_path: Path) -> None:
    write_rows(
        tmp_path / "rows.jsonl", [{"a b": row["message"], "c": row["queue"], "d": "x"} for row in TICKETS]
    )
    call(
        tmp_path, "init", "rows.jsonl", "--input", "a b", "--input", "d", "--target", "c",
        "--test", "test.jsonl", "--output", "tasks/mine.yaml",
    )  # fmt: skip
    task = load_task(tmp_path / "tasks" / "mine.yaml")
    assert task.data.inputs == {"a_b": "a b", "d": "d"}
    assert task.data.target == "c"
    assert Path(task.data.train) == tmp_path / "rows.jsonl"
    assert task.data.test is not None
    assert Path(task.data.test) == tmp_path / "test.jsonl"
    assert "{{a_b}}" in task.prompt


def test_bad_rows_can_be_skipped(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", TICKETS)
    with path.open("a", encoding="utf-8") as file:
        file.write("{broken\n")
    completed = invoke(tmp_path, "init", "rows.jsonl")
    assert completed.code == 1
    assert "rows.jsonl line 25: broken JSON" in completed.stderr
    assert "Read 24 examples" in call(tmp_path, "init", "rows.jsonl", "--skip-bad-rows")


def test_labels_of_data_sorted_by_label_are_all_found(tmp_path: Path) -> None:
    rows = [{"message": f"m{label}{i}", "queue": label} for label in "abc" for i in range(1500)]
    write_rows(tmp_path / "rows.jsonl", rows)
    call(tmp_path, "init", "rows.jsonl")
    assert load_task(tmp_path / "rows.task.yaml").labels == {"a": "a", "b": "b", "c": "c"}
