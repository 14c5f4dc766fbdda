import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Completed, invoke, listing
from tests.tiny_folder import write_rows

ROWS = [{"message": f"refund {index}", "queue": "billing"} for index in range(3)]
FAILS = "assertions:\n- {label: [neither]}\n- {length: {max: 90}}\n"
PASSES = "assertions:\n- {label: [billing, tech_team]}\n"


@pytest.fixture
def place(runs: Path, tmp_path: Path) -> Path:
    """A folder with rows, and runs whose tasks assert what holds, what does not, and nothing."""
    write_rows(tmp_path / "rows.jsonl", ROWS)
    for name, asserted in (("fails", FAILS), ("passes", PASSES), ("silent", "")):
        shutil.copytree(runs / "classification-1", tmp_path / name)
        with (tmp_path / name / "task.yaml").open("a", encoding="utf-8") as file:
            file.write(asserted)
    return tmp_path


def lines(completed: Completed) -> list[dict[str, Any]]:
    return [json.loads(line) for line in completed.stdout.splitlines()]


def test_answers_that_hold_exit_with_0(place: Path) -> None:
    completed = invoke(place, "predict", "passes", "rows.jsonl", "--check")
    assert completed.code == 0, completed.stderr
    assert [line["check"] for line in lines(completed)] == [{"status": "passed", "reasons": []}] * 3
    assert completed.stderr.splitlines() == [
        "label billing, tech_team  3 of 3 pass, 95 % interval 44% to 100%",
        "all assertions            3 of 3 pass, 95 % interval 44% to 100%",
        "PASS  100.0% of answers passed, at least 100.0%",
    ]


def test_answers_that_fail_are_told_by_row_and_exit_with_1(place: Path) -> None:
    completed = invoke(place, "predict", "fails", "rows.jsonl", "--check", "--output", "out.jsonl")
    assert (completed.code, completed.stdout) == (1, "")
    said = completed.stderr.splitlines()
    for number, line in enumerate(said[:3], start=1):
        assert line.startswith(f"Failed    rows.jsonl line {number}: 'neither' is no label of the task")
    assert said[3].startswith("Wrote 3 predictions to out.jsonl in ")
    assert said[-1] == "FAIL  0.0% of answers passed, below 100.0%"
    written = [json.loads(line) for line in (place / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["check"]["status"] for row in written] == ["failed"] * 3
    enough = invoke(place, "predict", "fails", "rows.jsonl", "--check", "--fail-under", "0")
    assert enough.code == 0


@pytest.mark.parametrize("to_a_file", [False, True])
def test_json_is_one_object_and_nothing_else(place: Path, to_a_file: bool) -> None:
    output = ("--output", "out.jsonl") if to_a_file else ()
    completed = invoke(place, "predict", "fails", "rows.jsonl", "--check", "--json", *output)
    assert completed.code == 1
    found = json.loads(completed.stdout)
    assert (found["check"]["passes"], found["check"]["fail_under"]) == (False, 1.0)
    answers, (label, length) = found["check"]["answers"], found["check"]["assertions"]
    assert (answers["num_passed"], answers["num_checked"], answers["rate"]) == (0, 3, 0.0)
    assert (label["assertion"], label["rate"], length["rate"]) == ("label neither", 0.0, 1.0)
    assert answers["interval"][0] == 0.0
    assert 0.5 < answers["interval"][1] < 0.6
    if to_a_file:
        assert (found["path"], found["rows"], "predictions" in found) == ("out.jsonl", 3, False)
        return
    assert [row["check"]["status"] for row in found["predictions"]] == ["failed"] * 3
    plain = json.loads(invoke(place, "predict", "silent", "rows.jsonl", "--json").stdout)
    assert [row["message"] for row in plain["predictions"]] == [row["message"] for row in ROWS]
    assert "check" not in plain


def test_many_failures_are_not_all_listed(place: Path) -> None:
    write_rows(place / "rows.jsonl", [{"message": f"refund {index}"} for index in range(45)])
    completed = invoke(place, "predict", "fails", "rows.jsonl", "--check")
    assert completed.stderr.count("Failed    rows.jsonl") == 40
    assert "Failed    5 more; each row says it in its field check" in completed.stderr


def test_where_nothing_can_be_checked_it_fails(place: Path) -> None:
    task = place / "passes" / "task.yaml"
    task.write_text(
        task.read_text(encoding="utf-8").replace(PASSES, "assertions:\n- {latency: 9}\n"), encoding="utf-8"
    )
    completed = invoke(place, "predict", "passes", "rows.jsonl", "--check")
    assert completed.code == 1
    assert "latency 9       not checked (3 answers)" in completed.stderr
    assert completed.stderr.endswith("FAIL  nothing could be checked\n")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("silent", "rows.jsonl", "--check"), "asserts nothing, so nothing can be checked"),
        (("nowhere", "rows.jsonl", "--check"), "nowhere: no run here"),
        (("fails", "none.jsonl", "--check"), "none.jsonl: there is no such file"),
        (("fails", "rows.jsonl", "--check", "-o", "rows.jsonl/x.jsonl"), "cannot be written"),
    ],
)
def test_what_cannot_be_checked_exits_with_2(place: Path, given: tuple[str, ...], message: str) -> None:
    before = listing(place)
    completed = invoke(place, "predict", *given)
    assert completed.code == 2
    assert completed.stderr.startswith("Error: ")
    assert message in completed.stderr
    assert listing(place) == before


def test_a_share_without_a_check_is_refused(place: Path) -> None:
    completed = invoke(place, "predict", "fails", "rows.jsonl", "--fail-under", "0.5")
    assert completed.code == 1
    assert "--fail-under says how many answers must pass --check; add it" in completed.stderr


def test_a_terminal_is_not_told_what_to_do_by_an_answer(place: Path) -> None:
    write_rows(place / "rows.jsonl", [{"message": "refund", "queue": "\x1b[31m"}])
    task = place / "fails" / "task.yaml"
    text = task.read_text(encoding="utf-8").replace(FAILS, "assertions:\n- {equals: }\n")
    task.write_text(text, encoding="utf-8")
    completed = invoke(place, "predict", "fails", "rows.jsonl", "--check", "-o", "out.jsonl")
    assert "Failed    rows.jsonl line 1: " in completed.stderr
    assert "\x1b" not in completed.stderr
