from pathlib import Path

import pytest

from tests.recipes.conftest import RecordingSink
from tests.tiny_folder import TICKETS, save_tiny_model, write_rows
from tuningfork.errors import DataError, TaskError
from tuningfork.recipes.lint import lint_file

YAML = """\
name: tickets
type: classification
data: {train: rows.jsonl, inputs: {message: message}, target: queue}
prompt: "Sort into billing or tech team. Answer with the queue's name only.\\n\\nMessage: {{message}}"
labels: {billing: billing, tech_team: tech team}
metric: accuracy
"""


@pytest.fixture
def task(tmp_path: Path) -> Path:
    write_rows(tmp_path / "rows.jsonl", TICKETS)
    path = tmp_path / "task.yaml"
    path.write_text(YAML, encoding="utf-8")
    return path


def changed(task: Path, old: str, new: str) -> Path:
    text = task.read_text(encoding="utf-8")
    assert old in text
    task.write_text(text.replace(old, new), encoding="utf-8")
    return task


def rules(task: Path, **options: object) -> list[str]:
    return [finding.rule for finding in lint_file(task, RecordingSink(), **options)]  # type: ignore[arg-type]


def test_a_good_task_has_no_findings_with_its_rows_and_a_model_either(task: Path, tmp_path: Path) -> None:
    assert rules(task) == []
    model = save_tiny_model(tmp_path / "model")
    assert set(rules(task, reads_data=True, model=str(model))) <= {"label-first-token", "label-length"}


def test_rows_are_looked_at_only_if_that_is_asked_for(task: Path) -> None:
    write_rows(task.parent / "rows.jsonl", [*TICKETS, {"message": "x", "queue": "sales"}])
    assert rules(task) == []
    (finding,) = lint_file(task, RecordingSink(), reads_data=True)
    assert (finding.rule, finding.place.rpartition("/")[2]) == ("unfit-row", "rows.jsonl line 25")


def test_a_row_that_the_model_cannot_read_is_named(task: Path, tmp_path: Path) -> None:
    write_rows(task.parent / "rows.jsonl", [*TICKETS, {"message": "word " * 5000, "queue": "billing"}])
    found = lint_file(task, RecordingSink(), reads_data=True, model=str(save_tiny_model(tmp_path / "model")))
    long = [finding for finding in found if finding.rule == "over-long"]
    assert [finding.place.rpartition("/")[2] for finding in long] == ["rows.jsonl line 25"]


def test_a_partial_and_a_test_set_are_looked_at_too(task: Path) -> None:
    (task.parent / "rules.txt").write_text("Obviously, be kind.\n", encoding="utf-8")
    changed(task, 'prompt: "Sort', 'partials: {rules: {file: rules.txt}}\nprompt: "{{> rules}} Sort')
    assert rules(task) == ["loaded-wording"]
    shown = "demonstrations: [{inputs: {message: printer 1}, target: billing}]\n"
    write_rows(task.parent / "test.jsonl", [{"message": "Printer  1", "queue": "tech_team"}])
    changed(task, "train: rows.jsonl", "train: rows.jsonl, test: test.jsonl")
    changed(task, "metric: accuracy\n", f"metric: accuracy\n{shown}")
    assert rules(task, reads_data=True) == ["shown-test-row", "loaded-wording"]


def test_what_cannot_be_read_is_a_finding_and_what_is_not_there_an_error(task: Path) -> None:
    changed(task, "{{message}}", "{{mesage}}")
    assert rules(task, reads_data=True, model="nothing") == ["missing-variable"]
    task.write_text("name: [", encoding="utf-8")
    assert rules(task) == ["unusable"]
    task.write_bytes(b"\xff\xfe")
    assert rules(task) == ["unusable"]
    with pytest.raises(TaskError, match="there is no such task file"):
        lint_file(task.parent / "other.yaml", RecordingSink())


def test_rows_that_cannot_be_read_are_an_error(task: Path) -> None:
    (task.parent / "rows.jsonl").unlink()
    assert rules(task) == []
    with pytest.raises(DataError, match=r"rows\.jsonl"):
        lint_file(task, RecordingSink(), reads_data=True)
