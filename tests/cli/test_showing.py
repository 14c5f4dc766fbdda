import json
import shutil
from pathlib import Path

import pytest

from tests.commands import invoke
from tuningfork.cli.showing import list_runs, show_run
from tuningfork.errors import RunError
from tuningfork.library.run_folder import RunFolder


def test_a_run_is_shown_with_all_it_rests_on(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_run(runs / "classification-1", answers=0, as_json=False)
    printed = " ".join(capsys.readouterr().out.split())
    for expected in (
        "Task classification: classification, accuracy",
        "Prompt prompt_tuning, learning rate 0.1, ",
        "Data 13 train / 5 validation / 6 test",
        "accuracy on test (n = 6)",
        "Candidates on held-out rows",
        "0.1 1 0 4",
    ):
        assert expected in printed


def test_answers_are_shown_side_by_side(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_run(runs / "messages-1", answers=2, as_json=False)
    printed = capsys.readouterr().out
    rows = RunFolder(runs / "messages-1").load_predictions()
    assert "reference" in printed
    for row in rows[:2]:
        assert row["inputs"][-1]["content"] in printed
        assert row["targets"][0] in printed
    assert rows[2]["targets"][0] not in printed


@pytest.fixture
def unfinished(runs: Path, tmp_path: Path) -> Path:
    run = Path(shutil.copytree(runs / "generation-1", tmp_path / "runs" / "generation-1"))
    (run / "result.json").unlink()
    return run


def test_unfinished_run_says_how_to_go_on(unfinished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        RunError, match=r"this run is not finished; go on with: tuningfork tune --resume .*generation-1"
    ):
        show_run(unfinished, answers=0, as_json=False)
    capsys.readouterr()
    list_runs(unfinished.parent, as_json=True)
    (listed,) = json.loads(capsys.readouterr().out)
    assert set(listed) == {"path", "run"}
    shown = invoke(unfinished.parents[1], "show").stdout
    assert "unfinished, tune --resume" in shown


def test_damaged_record_is_named(unfinished: Path) -> None:
    (unfinished / "run.json").write_text("{", encoding="utf-8")
    with pytest.raises(RunError, match=r"run.json: cannot be read \(1 validation error for RunRecord\)"):
        show_run(unfinished, answers=0, as_json=False)
