from pathlib import Path

from tests.commands import invoke


def test_a_run_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    completed = invoke(tmp_path, "similar", "runs/x-1")
    assert completed.code == 1
    assert completed.stderr.startswith("Error: runs/x-1: no run here (no run.json)")
