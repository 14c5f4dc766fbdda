import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.tiny_folder import write_rows
from tuningfork.errors import TaskError
from tuningfork.library.run_folder import RunFolder
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.checked_predictions import CheckedPredictions
from tuningfork.recipes.loaded_run import LoadedRun

ROWS = [
    {"message": "refund 1", "queue": "billing"},
    {"message": "crash 2", "queue": "tech_team"},
    {"message": "refund 3"},
]


def asserting(folder: Path, finished: RunFolder, *assertions: object) -> RunFolder:
    """The finished run with a task that asserts something."""
    shutil.copytree(finished.path, folder)
    yaml, path = YAML(typ="safe", pure=True), folder / "task.yaml"
    task = yaml.load(path.read_text(encoding="utf-8"))
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(task | {"assertions": list(assertions)}, file)
    return RunFolder.open(folder)


def test_every_row_is_held_against_all_that_the_task_asserts(
    finished: RunFolder, model: FrozenModel, tmp_path: Path
) -> None:
    folder = asserting(
        tmp_path / "run", finished, {"label": None}, {"length": {"max": 5, "unit": "tokens"}}, {"latency": 9}
    )
    run = LoadedRun(folder, model)
    checked = CheckedPredictions(run)
    source = str(write_rows(tmp_path / "rows.jsonl", ROWS))
    rows = list(checked.rows(source))
    said = [prediction.text for *_, prediction in run.answer_file(source)]
    assert [row.values["prediction"] for row in rows] == said
    assert [row.place.rpartition("/")[2] for row in rows] == [f"rows.jsonl line {n}" for n in (1, 2, 3)]
    for row, text, given in zip(rows, said, ROWS, strict=True):
        label, length, latency = row.checked.outcomes
        is_right = text == given.get("queue")
        assert label.status == ("skipped" if "queue" not in given else "passed" if is_right else "failed")
        assert latency.status == "skipped"
        fits = run.count_tokens(text) <= 5
        assert length.status == ("passed" if fits else "failed")
        assert row.values["check"] == {"status": row.checked.status, "reasons": list(row.checked.reasons)}
        assert {name: row.values[name] for name in given} == given
    rates = checked.rates
    assert [(rate.num_checked, rate.num_skipped) for rate in rates.assertions] == [(2, 1), (3, 0), (0, 3)]
    assert rates.answers.num_passed == sum(row.checked.status == "passed" for row in rows)


def test_a_task_that_asserts_nothing_is_refused(finished: RunFolder, model: FrozenModel) -> None:
    with pytest.raises(TaskError, match="asserts nothing, so nothing can be checked; give its task file"):
        CheckedPredictions(LoadedRun(finished, model))


def test_code_runs_only_where_it_is_trusted(
    finished: RunFolder, model: FrozenModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TUNINGFORK_TRUST_CODE", raising=False)
    folder = asserting(tmp_path / "run", finished, {"custom": "os.path:isabs"})
    run = LoadedRun(folder, model)
    with pytest.raises(TaskError, match="--trust-code"):
        CheckedPredictions(run)
    CheckedPredictions(run, trusted=True)
