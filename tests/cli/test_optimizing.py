import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.commands import invoke, listing
from tests.scripted_server import Asked, Reply, chat_reply, serving
from tests.tiny_folder import TICKETS, write_rows
from tuningfork.recipes.text_judges import LocalJudge

QUICK = ("--budget-calls", "150", "--demonstrations", "2", "--finalists", "2", "--device", "cpu")


@pytest.fixture(scope="module")
def place(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished search; not to be changed."""
    folder = tmp_path_factory.mktemp("searches")
    write_rows(folder / "tickets.jsonl", TICKETS)
    completed = invoke(folder, "optimize", "tickets.jsonl", "--model", model, *QUICK)
    assert completed.code == 0, completed.stderr
    (folder / "said.txt").write_text(completed.stdout, encoding="utf-8")
    return folder


def test_people_see_the_prompt_the_choice_and_the_verdict(place: Path) -> None:
    said = (place / "said.txt").read_text(encoding="utf-8")
    result = json.loads((place / "runs/tickets-optimized-1/optimization.json").read_text(encoding="utf-8"))
    assert " ".join(result["verdict"]["sentence"].split()) in " ".join(said.split())
    for expected in (
        "Search    runs/tickets-optimized-1",
        "Plan      nearest_demonstrations, edits; instructions by rules; up to 150 metric calls",
        "hand-written prompt",
        "Task      runs/tickets-optimized-1/task.yaml",
        "Version   tickets@1 in the library",
    ):
        assert expected in said
    assert " ".join(result["prompt"].split()) in " ".join(said.split())


def test_show_prints_it_again(place: Path) -> None:
    shown = invoke(place, "show", "runs/tickets-optimized-1")
    assert shown.code == 0, shown.stderr
    said = (place / "said.txt").read_text(encoding="utf-8")
    assert shown.stdout.split("Version")[0].strip().splitlines()[0] in said
    found = json.loads(invoke(place, "show", "runs/tickets-optimized-1", "--json").stdout)
    assert found["optimization"]["task"] == "tickets"


def test_what_was_found_runs_predicts_and_is_tuned_on(place: Path, model: Path, tmp_path: Path) -> None:
    run = place / "runs/tickets-optimized-1"
    assert invoke(place, "run", run, "refund 99").stdout.strip().split()
    predicted = invoke(place, "predict", run, place / "tickets.jsonl")
    assert predicted.code == 0, predicted.stderr
    assert len(predicted.stdout.splitlines()) == 24
    again = invoke(place, "run", "tickets@1", "refund 99", "--library", place / "library")
    assert again.stdout == invoke(place, "run", run, "refund 99").stdout
    tuned = invoke(
        tmp_path, "tune", run / "task.yaml", "--model", model, "--max-steps", "1",
        "--method", "prompt_tuning", "--lr", "0.1", "--seeds", "1", "--refit", "no",
        "--no-register", "--json",
    )  # fmt: skip
    assert tuned.code == 0, tuned.stderr
    ways = json.loads(tuned.stdout)["result"]["ways"]
    scores = {way["name"]: way["score"] for way in ways}
    result = json.loads((run / "optimization.json").read_text(encoding="utf-8"))
    assert scores["text prompt"] == pytest.approx(result["optimized"]["score"])


def test_json_is_one_object_and_a_dry_run_leaves_nothing(place: Path, model: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "tickets.jsonl", TICKETS)
    dry = invoke(tmp_path, "optimize", "tickets.jsonl", "--model", model, *QUICK, "--dry-run")
    assert dry.code == 0, dry.stderr
    assert "Plan      nearest_demonstrations, edits" in dry.stdout
    assert listing(tmp_path) == ["tickets.jsonl"]
    completed = invoke(
        tmp_path, "optimize", "tickets.jsonl", "--model", model, *QUICK, "--json", "--no-register"
    )
    found = json.loads(completed.stdout)
    assert (found["path"], found["version"]) == ("runs/tickets-optimized-1", None)
    same = json.loads((place / "runs/tickets-optimized-1/optimization.json").read_text(encoding="utf-8"))
    assert found["optimization"]["prompt"] == same["prompt"]
    assert found["optimization"]["finalists"] == same["finalists"]
    assert not (tmp_path / "library").exists()


def test_words_for_a_model_behind_an_api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNINGFORK_CACHE", str(tmp_path / "cache"))
    write_rows(tmp_path / "tickets.jsonl", TICKETS)

    def always(asked: Asked) -> Reply:
        return chat_reply("billing")

    with serving(always) as server:
        completed = invoke(
            tmp_path,
            "optimize",
            "tickets.jsonl",
            "--api-model",
            "far-1",
            "--api-base",
            server.base_url,
            *QUICK,
        )
    assert completed.code == 0, completed.stderr
    assert "Nothing beat the hand-written prompt on validation" in completed.stdout
    assert "tuningfork library register runs/tickets-optimized-1/task.yaml" in completed.stderr


def test_ctrl_c_says_how_to_go_on(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_rows(tmp_path / "tickets.jsonl", TICKETS)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalJudge, "evaluate", interrupted)
    completed = invoke(tmp_path, "optimize", "tickets.jsonl", "--model", model, *QUICK, "--no-register")
    assert completed.code == 130
    assert "go on with: tuningfork optimize --resume runs/tickets-optimized-1" in completed.stderr
    shown = invoke(tmp_path, "show", "runs/tickets-optimized-1")
    assert shown.code == 1
    assert "go on with: tuningfork optimize --resume runs/tickets-optimized-1" in shown.stderr


@pytest.mark.slow
def test_a_process_that_is_killed_goes_on_to_the_same_result(
    place: Path, model: Path, tmp_path: Path
) -> None:
    write_rows(tmp_path / "tickets.jsonl", TICKETS)
    command = [sys.executable, "-m", "tuningfork"]
    given = ["optimize", "tickets.jsonl", "--model", str(model), *QUICK, "--no-register"]
    environment: dict[str, Any] = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    process = subprocess.Popen([*command, *given], cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
    log = tmp_path / "runs/tickets-optimized-1/search.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (log.exists() and log.read_bytes().count(b'"scores"') >= 2):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    folder = log.parent
    assert not (folder / "optimization.json").exists()
    resumed = invoke(tmp_path, "optimize", "--resume", folder, "--no-register", "--json")
    assert resumed.code == 0, resumed.stderr
    found = json.loads(resumed.stdout)["optimization"]
    same = json.loads((place / "runs/tickets-optimized-1/optimization.json").read_text(encoding="utf-8"))
    assert found["finalists"] == same["finalists"]
    assert found["spent"]["calls"] == same["spent"]["calls"]
