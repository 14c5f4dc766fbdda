import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import call, invoke, listing
from tests.tiny_folder import TICKETS, write_rows
from tuningfork.errors import DataError, TaskError, TuningForkError

LINES = [f'{{"message": "m{index}", "queue": "{"ab"[index % 2]}"}}\n' for index in range(900)]
CSV = ["message,queue\n", *(f"m{index},{'ab'[index % 2]}\n" for index in range(20))]


def broken_json() -> str:
    return "".join([*LINES[:811], '{"message": "m", "queue": }\n', *LINES[812:]])


# Name of the file, what it holds, and the one line that must come of it.
BAD_FILES = {
    "encoding": (
        "latin.csv",
        "message,queue\ncaf\xe9,a\n".encode("latin-1"),
        r"latin.csv line 2: byte 17 \(0xe9\) is not valid UTF-8 .*in Windows-1252\). "
        "Open the file .* save it as UTF-8",
    ),
    "broken JSON": (
        "broken.jsonl",
        broken_json().encode(),
        r"broken.jsonl line 812: broken JSON, column 27: expecting value; expected one object .*"
        "Fix the line, or pass --skip-bad-rows",
    ),
    "missing column": (
        "column.csv",
        "".join(line.partition(",")[0].strip() + "\n" for line in CSV).encode(),
        r"column.csv: cannot tell .*no column is named like a target; found 'message'. "
        "Name them: --input COLUMN --target COLUMN",
    ),
    "one label": (
        "one.csv",
        "".join(line.replace(",b", ",a") for line in CSV).encode(),
        r"one.csv: all 20 rows have the same target, 'a'; there is nothing to learn from one label or "
        "answer. Add rows with others",
    ),
    "two rows": (
        "two.csv",
        "".join(CSV[:3]).encode(),
        r"two.csv: 2 rows; at least 8 are needed, 20-50 recommended. Add more examples",
    ),
    "ragged row": (
        "ragged.csv",
        "".join([*CSV, "Refund, please,a\n"]).encode(),
        r'ragged.csv line 22: 3 columns, the header has 2 \("message", "queue"\)(.|\n)*Refund, please,a'
        r"(.|\n)*Quote the field, or pass --skip-bad-rows",
    ),
    "empty file": ("empty.csv", b"", r"empty.csv: the file is empty; expected at least one row"),
    "unknown extension": (
        "tickets.xlsx",
        b"PK",
        r"tickets.xlsx: unknown kind of file '.xlsx'; expected .jsonl, .*spreadsheets can be saved as CSV",
    ),
    "text for JSON": (
        "prose.jsonl",
        b"Dear all,\n",
        r"prose.jsonl line 1: broken JSON, column 1: expecting value",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
@pytest.mark.parametrize("command", ["tune", "init"])
def test_bad_examples_give_one_error_and_leave_nothing(
    command: str, case: str, tmp_path: Path, model: Path
) -> None:
    name, content, expected = BAD_FILES[case]
    (tmp_path / name).write_bytes(content)
    options = ("--model", model) if command == "tune" else ()
    with pytest.raises(DataError, match=expected):
        call(tmp_path, command, name, *options)
    assert listing(tmp_path) == [name]


def test_missing_file_names_the_one_that_was_meant(tmp_path: Path) -> None:
    write_rows(tmp_path / "tickets.jsonl", TICKETS)
    with pytest.raises(DataError, match=r"ticket.jsonl: there is no such file. Did you mean tickets.jsonl\?"):
        call(tmp_path, "tune", "ticket.jsonl")
    assert listing(tmp_path) == ["tickets.jsonl"]


def test_column_missing_in_one_row(tmp_path: Path) -> None:
    write_rows(tmp_path / "tickets.jsonl", [*TICKETS, {"massage": "x", "queue": "billing"}])
    with pytest.raises(
        DataError, match=r"tickets.jsonl line 25: no column 'message', the input.*mean 'massage'"
    ):
        call(tmp_path, "tune", "tickets.jsonl")


def test_columns_that_do_not_exist(tmp_path: Path) -> None:
    write_rows(tmp_path / "tickets.jsonl", TICKETS)
    with pytest.raises(DataError, match="line 1: no column 'mesage', the input; found 'message', 'queue'"):
        call(tmp_path, "tune", "tickets.jsonl", "--input", "mesage", "--target", "queue")
    with pytest.raises(DataError, match="name both the input columns and the target"):
        call(tmp_path, "tune", "tickets.jsonl", "--input", "message")
    assert listing(tmp_path) == ["tickets.jsonl"]


def test_bad_rows_can_be_skipped_and_are_named(tmp_path: Path, model: Path) -> None:
    (tmp_path / "ragged.csv").write_text("".join([*CSV, "Refund, please,a\n"]), encoding="utf-8")
    printed = call(tmp_path, "tune", "ragged.csv", "--skip-bad-rows", "--dry-run", "--model", model)
    assert "Skipped   ragged.csv line 22: 3 columns, the header has 2" in printed
    assert "Data      14 train, in 3 folds to choose settings / 6 test" in printed


def test_row_with_an_unknown_label(tmp_path: Path, model: Path) -> None:
    write_rows(tmp_path / "tickets.jsonl", TICKETS)
    call(tmp_path, "init", "tickets.jsonl")
    write_rows(tmp_path / "tickets.jsonl", [*TICKETS, {"message": "x", "queue": "biling"}])
    with pytest.raises(
        DataError, match=r"tickets.jsonl line 25: 'biling' is not a label of task tickets \(billing, "
    ):
        call(tmp_path, "tune", "tickets.task.yaml", "--model", model)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "give either a task file or examples to start a run, or --resume RUN"),
        (("tickets.jsonl", "--resume", "runs/x-1"), "give either a task file or examples"),
        (("--resume", "runs/x-1", "--max-steps", "9"), "leave out --max-steps, or start a new run"),
        (("--resume", "runs/x-1", "--runs", "elsewhere"), "leave out --runs, or start a new run"),
        (("nothing.task.yaml",), "nothing.task.yaml: there is no such task file"),
    ],
)
def test_contradicting_arguments(arguments: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=expected):
        call(tmp_path, "tune", *arguments)


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "inf"])
def test_impossible_learning_rate(rate: str, tmp_path: Path) -> None:
    completed = invoke(tmp_path, "tune", "tickets.jsonl", "--lr", rate)
    assert completed.code == 2
    assert f"a learning rate must be above 0, found {float(rate):g}" in " ".join(completed.stderr.split())


def test_missing_model_is_named(tmp_path: Path) -> None:
    write_rows(tmp_path / "tickets.jsonl", TICKETS)
    with pytest.raises(TuningForkError, match=r"./nowhere: no such folder; give a folder with a saved model"):
        call(tmp_path, "tune", "tickets.jsonl", "--model", "./nowhere")


def test_error_in_a_shell_is_one_line_on_standard_error(tmp_path: Path) -> None:
    (tmp_path / "tickets.jsonl").write_text(broken_json(), encoding="utf-8")
    completed = subprocess.run(
        [sys.executable, "-m", "tuningfork", "init", "tickets.jsonl"],
        cwd=tmp_path, capture_output=True, text=True, check=False, env=dict(os.environ),
    )  # fmt: skip
    assert completed.returncode == 1
    assert completed.stderr.startswith("Error: tickets.jsonl line 812: broken JSON")
    assert completed.stderr.count("\n") == 1
    assert completed.stdout == ""
    assert listing(tmp_path) == ["tickets.jsonl"]
