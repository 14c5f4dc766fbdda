import json
from pathlib import Path

from tests.commands import invoke

TASK = """\
name: tickets
type: classification
data: {train: rows.jsonl, inputs: {message: message}, target: queue}
prompt: "PROMPT\\n\\nMessage: {{message}}"
labels: {billing: billing, returns: returns}
metric: accuracy
"""


def write(folder: Path, prompt: str) -> Path:
    path = folder / "task.yaml"
    path.write_text(TASK.replace("PROMPT", prompt), encoding="utf-8")
    return path


def test_a_warning_does_not_fail(tmp_path: Path) -> None:
    completed = invoke(tmp_path, "lint", write(tmp_path, "Obviously, answer billing or returns."))
    assert completed.code == 0
    assert completed.stdout.splitlines() == [
        "warning prompt line 1: 'Obviously' takes the answer for granted (loaded-wording)",
        f"{tmp_path}/task.yaml: no errors, 1 warning",
    ]


def test_an_error_fails_and_json_holds_all_of_it(tmp_path: Path) -> None:
    task = write(tmp_path, "Answer {{other}}. Be brief, in detail.")
    completed = invoke(tmp_path, "lint", task, "--json")
    assert completed.code == 1
    printed = json.loads(completed.stdout)
    assert (printed["task"], printed["errors"], printed["warnings"]) == (str(task), 1, 0)
    assert printed["findings"][0]["rule"] == "missing-variable"
    assert set(printed["findings"][0]) == {"rule", "severity", "place", "message"}


def test_a_task_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    completed = invoke(tmp_path, "lint", "missing.yaml")
    assert completed.code == 1
    assert completed.stderr == "Error: missing.yaml: there is no such task file\n"


def test_rows_need_the_bundled_model_unless_another_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"message": "' + "word " * 9000 + '", "queue": "billing"}\n')
    completed = invoke(tmp_path, "lint", write(tmp_path, "Answer billing or returns."), "--data")
    assert completed.code == 1
    assert "(over-long)" in completed.stdout
    assert "bundled reads" in completed.stdout
