import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.commands import call, invoke, listing
from tests.tiny_folder import TICKETS, write_rows
from tuningfork.errors import FormatError, PromptError, TaskError

QUICK = (
    "-c", "no_prompt", "-c", "soft_prompts", "--method", "prompt_tuning", "--placement", "front",
    "--max-steps", "4", "--validate-every", "2", "--seeds", "2",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a task: `tickets/task.yaml` and its rows."""
    (tmp_path / "tickets").mkdir()
    write_rows(tmp_path / "tickets" / "train.jsonl", TICKETS)
    (tmp_path / "tickets" / "task.yaml").write_text(
        "name: tickets\ntype: classification\ndata:\n  train: train.jsonl\n"
        "  inputs: {message: message}\n  target: queue\nprompt: 'Which queue? {{message}}'\n"
        "labels: {billing: billing, tech_team: tech}\nmetric: accuracy\n",
        encoding="utf-8",
    )
    return tmp_path


@pytest.mark.parametrize("source", ["tickets", "tickets/", "tickets/task.yaml", "tickets/train.jsonl"])
def test_a_folder_a_task_file_and_examples_name_a_task(folder: Path, model: Path, source: str) -> None:
    completed = invoke(folder, "compare", source, "--model", model, "--dry-run", *QUICK)
    assert completed.code == 0, completed.stderr
    assert "3/3       prompt tuning, 8 trainings" in completed.stdout
    assert "Plan      up to 8 trainings in all" in completed.stdout


def test_a_dry_run_writes_nothing_and_counts_curves(folder: Path, model: Path) -> None:
    before = listing(folder)
    completed = invoke(
        folder,
        "compare",
        "tickets",
        "--model",
        model,
        "--dry-run",
        *QUICK,
        "--curves",
        "--curve-sizes",
        "8,12",
    )
    assert completed.code == 0, completed.stderr
    assert "Curves    all 3 again with 8 examples, 8 trainings" in completed.stdout
    assert "Plan      up to 24 trainings in all" in completed.stdout
    assert listing(folder) == before


def test_a_dry_run_with_json_prints_json(folder: Path, model: Path) -> None:
    completed = invoke(folder, "compare", "tickets", "--model", model, "--dry-run", "--json", *QUICK)
    assert completed.code == 0, completed.stderr
    planned = json.loads(completed.stdout)
    assert planned["trainings"] == 8
    assert planned["contestants"][2] == {"name": "prompt tuning", "trainings": 8, "reason": None}


def test_a_place_that_cannot_be_written_is_one_line(folder: Path, model: Path) -> None:
    runs = "tickets/task.yaml/runs"
    completed = invoke(folder, "compare", "tickets", "--model", model, *QUICK, "--runs", runs)
    assert completed.code == 1
    assert completed.stderr.startswith(f"Error: {runs}: cannot be used (Not a directory); name another place")
    assert completed.stderr.count("\n") == 1


def test_an_empty_folder_is_no_task(folder: Path) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(TaskError, match=r"empty: expected a folder with a task\.yaml, found an empty one"):
        call(folder, "compare", "empty")


def test_a_metric_of_ones_own_runs_where_it_is_trusted(
    folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TUNINGFORK_TRUST_CODE", raising=False)
    (folder / "tickets" / "own.py").write_text(
        "def score(prediction, references):\n    return 0.25 + 0.5 * (prediction in references)\n",
        encoding="utf-8",
    )
    path = folder / "tickets" / "task.yaml"
    path.write_text(
        path.read_text(encoding="utf-8").replace("metric: accuracy", "metric: own:score"), "utf-8"
    )
    given = ("compare", "tickets", "--model", model, "-c", "no_prompt", "--json")
    refused = invoke(folder, *given)
    assert refused.code == 1
    assert "--trust-code" in refused.stderr
    completed = invoke(folder, *given, "--trust-code")
    assert completed.code == 0, completed.stderr
    comparison = json.loads(completed.stdout)["comparison"]
    assert comparison["metric"] == "own:score"
    assert set(comparison["contestants"][0]["seeds"][0]["scores"]) <= {0.25, 0.75}
    assert "TUNINGFORK_TRUST_CODE" not in os.environ


def test_options_reach_the_comparison(folder: Path, model: Path) -> None:
    completed = invoke(
        folder, "compare", "tickets", "--model", model, "--json", *QUICK, "--budget", "500", "--runs", "mine",
        "--folds", "2", "--seed", "7",
    )  # fmt: skip
    assert completed.code == 0, completed.stderr
    printed = json.loads(completed.stdout)
    assert printed["path"] == "mine/tickets-comparison-1"
    comparison = printed["comparison"]
    names = [one["name"] for one in comparison["contestants"]]
    assert names == ["no prompt", "text prompt", "prompt tuning"]
    assert comparison["budget_seconds"] == 500
    assert (comparison["num_folds"], comparison["num_seeds"], comparison["max_steps"]) == (2, 2, 4)
    assert [seed["seed"] for seed in comparison["contestants"][2]["seeds"]] == [7, 8]
    plan = json.loads((folder / printed["path"] / "plan.json").read_text(encoding="utf-8"))
    assert plan["options"]["contestants"] == ["no_prompt", "soft_prompts"]


def test_calls_are_counted_in_the_money_of_a_file_of_prices(folder: Path, model: Path) -> None:
    (folder / "prices.yaml").write_text("currency: EUR\nhardware: {processor_hour: 3.6}\n", encoding="utf-8")
    given = ("compare", "tickets", "--model", model, "--json", "-c", "no_prompt")
    for prices, currency in ((("--prices", "prices.yaml"), "EUR"), ((), "")):
        completed = invoke(folder, *given, *prices)
        assert completed.code == 0, completed.stderr
        for one in json.loads(completed.stdout)["comparison"]["contestants"]:
            assert one["cost"]["currency"] == currency
            assert (one["cost"]["money_per_1000_calls"] is None) is not bool(prices)
    with pytest.raises(FormatError, match=r"none\.yaml"):
        call(folder, *given, "--prices", "none.yaml")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((), "give either a task to start a comparison, or --resume FOLDER"),
        (("tickets", "--resume", "runs/x"), "give either a task to start a comparison, or --resume FOLDER"),
        (("--resume", "runs/x", "--max-steps", "9"), "leave out --max-steps"),
        (("tickets", "--curve-sizes", "8"), "--curve-sizes are those of --curves"),
    ],
)
def test_what_contradicts_itself_is_refused(folder: Path, given: tuple[str, ...], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        call(folder, "compare", *given)


@pytest.mark.parametrize("sizes", ["8,x", "3", "8;9", "-4"])
def test_sizes_that_are_none_are_refused(folder: Path, sizes: str) -> None:
    completed = invoke(folder, "compare", "tickets", "--curves", f"--curve-sizes={sizes}")
    assert completed.code == 2
    assert "expected numbers from 4 up" in " ".join(completed.stderr.replace("│", " ").split())


def test_an_unknown_contestant_and_an_unknown_method_are_refused_with_a_hint(
    folder: Path, model: Path
) -> None:
    with pytest.raises(PromptError, match=r"unknown contestant 'fewshot': did you mean 'few_shot'\?"):
        call(folder, "compare", "tickets", "--model", model, "-c", "fewshot")
    with pytest.raises(PromptError, match="unknown soft-prompt method 'idgp': did you mean 'idpg'"):
        call(folder, "compare", "tickets", "--model", model, "--method", "idgp")


def test_help_names_every_contestant(tmp_path: Path) -> None:
    from tuningfork.recipes.contestants.registry import CONTESTANTS

    said = invoke(tmp_path, "compare", "--help", columns=200).stdout
    assert [name for name in CONTESTANTS if name not in said] == []


def test_wrong_tasks_are_told_before_a_model_library_is_loaded(folder: Path) -> None:
    program = (
        "import sys\nfrom tuningfork.cli.main import main\n"
        "try:\n    main()\nfinally:\n    print('torch' in sys.modules)\n"
    )
    (folder / "tickets" / "task.yaml").write_text("name: x\n", encoding="utf-8")
    done: Any = subprocess.run(
        [sys.executable, "-c", program, "compare", "tickets"],
        capture_output=True, text=True, check=False, cwd=folder, env=dict(os.environ),
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout.strip() == "False"
