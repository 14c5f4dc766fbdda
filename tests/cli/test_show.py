import json
from pathlib import Path

import pytest

from tests.commands import call, invoke
from tests.tiny_folder import ROWS
from tuningfork.errors import RunError


def test_all_runs_are_listed(workplace: Path) -> None:
    completed = invoke(workplace, "show")
    assert completed.code == 0
    listed = completed.stdout.splitlines()
    assert listed[0].split() == ["run", "made", "model", "result"]
    assert [line.split()[0] for line in listed[1:]] == sorted(f"runs/{kind}-1" for kind in ROWS)
    assert all(" tiny " in line for line in listed[1:])
    assert max(map(len, listed)) <= 80


def test_no_runs_says_how_to_make_one(tmp_path: Path) -> None:
    assert invoke(tmp_path, "show").stdout == "No runs in runs; make one with: tuningfork tune EXAMPLES\n"
    assert invoke(tmp_path, "show", "--runs", "mine", "--json").stdout == "[]\n"


def test_list_as_json(workplace: Path, runs: Path, tmp_path: Path) -> None:
    listed = json.loads(invoke(tmp_path, "show", "--runs", runs, "--json").stdout)
    assert [Path(run["path"]) for run in listed] == sorted(runs / f"{kind}-1" for kind in ROWS)
    (shown,) = (run for run in listed if run["path"].endswith("classification-1"))
    assert shown["result"]["metric"] == "accuracy"
    assert shown == json.loads(invoke(workplace, "show", runs / "classification-1", "--json").stdout)


def test_missing_run_is_an_error(workplace: Path) -> None:
    with pytest.raises(RunError, match="runs/x-1: no run here"):
        call(workplace, "show", "runs/x-1")
