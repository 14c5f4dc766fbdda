"""Runs whose metric is no mean over rows, or a function of the user's own."""

import json
import re
from pathlib import Path

import pytest
from sklearn.metrics import f1_score

from tests.commands import QUICK, invoke, tune
from tests.tiny_folder import TICKETS, write_rows
from tuningfork.library.run_folder import RunFolder

TASK = """\
name: tickets
type: classification
data: {train: tickets.jsonl, inputs: {message: message}, target: queue}
prompt: "Which queue? {{message}}"
labels: {billing: billing, tech_team: tech team}
metric: METRIC
metrics: [accuracy, mcc, ece]
margin: 0.9
"""
MINE = """\
def score(prediction, references):
    return 2.0 * (prediction in references)

score.maximum = 2
"""


def write_task(folder: Path, metric: str) -> Path:
    write_rows(folder / "tickets.jsonl", TICKETS)
    (folder / "mine.py").write_text(MINE)
    path = folder / "tickets.yaml"
    path.write_text(TASK.replace("METRIC", metric))
    return path


def test_a_run_on_macro_f1_reports_and_proves_just_that(model_folder: Path, tmp_path: Path) -> None:
    write_task(tmp_path, "macro_f1")
    folder = RunFolder.open(tune(tmp_path, model_folder, "tickets.yaml"))
    result, rows = folder.result, folder.load_predictions()
    gold = [row["targets"][0] for row in rows]
    for way in result.ways:
        said = [row["predictions"][way.name] for row in rows]
        assert way.score == pytest.approx(f1_score(gold, said, average="macro", zero_division=0.0))
        assert way.low <= way.score <= way.high
        assert 0.0 <= way.low < way.high <= 1.0
        accuracy, _mcc, ece = way.metrics
        right = [float(one == other) for one, other in zip(said, gold, strict=True)]
        assert accuracy.value == pytest.approx(sum(right) / len(right))
        assert [row["scores"][way.name] for row in rows] == right
        assert ece.note.startswith("perfect calibration would show")
    by_name = {way.name: way for way in result.ways}
    difference = by_name[result.answer].score - by_name[result.baseline].score
    assert result.verdict.difference == pytest.approx(difference)
    assert result.verdict.low <= difference <= result.verdict.high
    assert result.verdict.margin == 0.9
    is_equivalent = result.verdict.verdict == "equivalent"
    assert ("margin 0.9" if is_equivalent else "macro_f1") in result.verdict.sentence
    shown = invoke(tmp_path, "show", folder.path, columns=200)
    assert shown.code == 0, shown.stderr
    for name in ("macro_f1", "accuracy", "mcc", "ece of text prompt: perfect calibration would show"):
        assert name in shown.stdout


def test_a_function_of_the_users_scores_where_it_is_trusted(model_folder: Path, tmp_path: Path) -> None:
    write_task(tmp_path, "mine:score")
    refused = invoke(tmp_path, "tune", "tickets.yaml", "--model", model_folder, *QUICK)
    assert refused.code == 1
    assert "tickets.yaml: metric mine:score: would import and run mine from" in refused.stderr
    assert "--trust-code" in refused.stderr
    assert not (tmp_path / "runs").exists()
    path = tune(tmp_path, model_folder, "tickets.yaml", "--trust-code")
    result = RunFolder.open(path).result
    assert result.metric == "mine:score"
    for way in result.ways:
        assert way.score == pytest.approx(2 * way.metrics[0].value)
    # Trust ended with the command, and neither a look at the run nor its use needs any.
    shown = invoke(tmp_path, "show", path, "--json")
    assert json.loads(shown.stdout)["result"]["metric"] == "mine:score"
    used = invoke(tmp_path, "run", path, "refund 3")
    assert used.code == 0, used.stderr


def test_a_run_that_was_cut_off_goes_on_with_its_own_code(model_folder: Path, tmp_path: Path) -> None:
    write_task(tmp_path, "mine:score")
    path = tune(tmp_path, model_folder, "tickets.yaml", "--trust-code")
    finished = RunFolder.open(path).result
    (path / "result.json").unlink()
    refused = invoke(tmp_path, "tune", "--resume", path)
    assert refused.code == 1
    assert "would import and run mine" in refused.stderr
    resumed = invoke(tmp_path, "tune", "--resume", path, "--trust-code", "--json")
    assert resumed.code == 0, resumed.stderr
    assert RunFolder.open(path).result.ways[-1].score == finished.ways[-1].score


def test_a_function_that_fails_names_itself_and_the_row(model_folder: Path, tmp_path: Path) -> None:
    write_task(tmp_path, "mine:score")
    (tmp_path / "mine.py").write_text("def score(prediction, references):\n    return float('inf')\n")
    failed = invoke(
        tmp_path, "tune", "tickets.yaml", "--model", model_folder, *QUICK, "--trust-code", columns=300
    )
    assert failed.code == 1
    assert "metric mine:score: expected a number from 0 to 1, found inf" in failed.stderr
    assert re.search(r"tickets\.jsonl:\d+: metric mine:score", failed.stderr)
