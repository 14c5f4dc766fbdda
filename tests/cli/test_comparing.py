import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.commands import call, invoke
from tests.tiny_folder import TICKETS, write_rows
from tuningfork.errors import RunError

SOFT = ("-c", "no_prompt", "-c", "few_shot", "-c", "soft_prompts", "--method", "prompt_tuning")
QUICK = (*SOFT, "--max-steps", "4", "--validate-every", "2", "--seeds", "2")


@pytest.fixture(scope="module")
def place(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished comparison; not to be changed."""
    folder = tmp_path_factory.mktemp("comparisons")
    write_rows(folder / "tickets.jsonl", TICKETS)
    completed = invoke(folder, "compare", "tickets.jsonl", "--model", model, *QUICK)
    assert completed.code == 0, completed.stderr
    (folder / "said.txt").write_text(completed.stdout, encoding="utf-8")
    return folder


def test_people_see_who_is_at_work_the_verdict_and_the_table(place: Path) -> None:
    said = (place / "said.txt").read_text(encoding="utf-8")
    for expected in (
        "Compare   runs/tickets-comparison-1",
        "1/4       no prompt (0:",
        "4/4       prompt tuning (0:",
        "3/4       few-shot: accuracy 0.",
        "Figures   runs/tickets-comparison-1/comparison.json",
    ):
        assert expected in said
    record = json.loads((place / "runs/tickets-comparison-1/comparison.json").read_text(encoding="utf-8"))
    shown = said[said.index("4/4") :].split("\n\n")[1]
    assert " ".join(shown.split()) == record["headline"]
    result = said[said.index(shown) :]
    assert max(len(line) for line in result.splitlines()) <= 80
    assert "\n\n\n" not in said


def test_the_reports_begin_with_the_verdict_and_say_how_they_were_made(place: Path) -> None:
    folder = place / "runs/tickets-comparison-1"
    record = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    said = (place / "said.txt").read_text(encoding="utf-8")
    for name in ("report.html", "report.md"):
        assert f"Report    runs/tickets-comparison-1/{name}" in said
        assert "prompt tuning" in (folder / name).read_text(encoding="utf-8")
    assert record["command"].startswith("tuningfork compare tickets.jsonl --model ")
    assert record["command"].endswith(" ".join(QUICK))
    names = {metric["name"] for one in record["contestants"] for metric in one["metrics"]}
    assert {"macro_f1", "mcc", "brier", "ece"} <= names
    assert all(seed["probabilities"] for one in record["contestants"] for seed in one["seeds"])


def test_show_prints_it_again(place: Path) -> None:
    said = (place / "said.txt").read_text(encoding="utf-8")
    again = invoke(place, "show", "runs/tickets-comparison-1")
    assert again.code == 0
    assert said.endswith(again.stdout)
    printed = json.loads(invoke(place, "show", "runs/tickets-comparison-1", "--json").stdout)
    path = place / "runs/tickets-comparison-1/comparison.json"
    assert printed["comparison"] == json.loads(path.read_text(encoding="utf-8"))


def test_a_finished_comparison_is_not_resumed(place: Path) -> None:
    with pytest.raises(RunError, match="this comparison is finished; see it with: tuningfork show runs/tick"):
        call(place, "compare", "--resume", "runs/tickets-comparison-1")


def start(cwd: Path, *arguments: str | Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tuningfork", "compare", *map(str, arguments)],
        cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ),
    )  # fmt: skip


def signalled(process: "subprocess.Popen[str]", when: Path, count: int, what: signal.Signals) -> str:
    """Signal the process once there are so many files in the folder `when`; return what it said of it."""
    while process.poll() is None and len(list(when.glob("*.safetensors"))) < count:
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()
    process.send_signal(what)
    _, error = process.communicate(timeout=60)
    assert process.returncode == (130 if what == signal.SIGINT else -what)
    return error


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_interrupted_comparison_says_how_to_go_on(model: Path, tmp_path: Path, jobs: str) -> None:
    write_rows(tmp_path / "tickets.jsonl", TICKETS)
    long = (
        "--max-steps",
        "400",
        "--validate-every",
        "200",
        "--seeds",
        "2",
        "--patience",
        "0",
        "--jobs",
        jobs,
    )
    process = start(tmp_path, "tickets.jsonl", "--model", model, *SOFT, *long, "--jobs", jobs)
    checkpoints = tmp_path / "runs/tickets-comparison-1/work/prompt-tuning/checkpoints"
    error = signalled(process, checkpoints, 1, signal.SIGINT)
    assert error == "Interrupted; go on with: tuningfork compare --resume runs/tickets-comparison-1\n"
    with pytest.raises(RunError, match=r"not finished; go on with: tuningfork compare --resume runs/tickets"):
        call(tmp_path, "show", "runs/tickets-comparison-1")


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_killed_comparison_goes_on_and_is_the_same_in_all_but_times(
    model: Path, tmp_path: Path, jobs: str
) -> None:
    write_rows(tmp_path / "tickets.jsonl", TICKETS)
    options = (
        "tickets.jsonl", "--model", model, *SOFT, "--max-steps", "24", "--validate-every", "6",
        "--checkpoint-every", "5", "--seeds", "3", "--patience", "0", "--curves", "--curve-sizes", "8",
        "--jobs", jobs,
    )  # fmt: skip
    run = tmp_path / "runs" / "tickets-comparison-1"
    # In the search, among the seeds of the winner, and on the learning curve.
    signalled(start(tmp_path, *options), run / "work/prompt-tuning/checkpoints", 3, signal.SIGKILL)
    assert not (run / "comparison.json").exists()
    resume = ("--resume", "runs/tickets-comparison-1")
    signalled(start(tmp_path, *resume), run / "work/prompt-tuning/checkpoints", 13, signal.SIGKILL)
    signalled(start(tmp_path, *resume), run / "curves/8/prompt-tuning/checkpoints", 2, signal.SIGKILL)
    assert invoke(tmp_path, "compare", *resume).code == 0
    assert invoke(tmp_path, "compare", *options, "--runs", "unbroken").code == 0
    unbroken = tmp_path / "unbroken" / "tickets-comparison-1"
    assert timeless(run) == timeless(unbroken)
    spent = json.loads((run / "work/prompt-tuning/spent.json").read_text(encoding="utf-8"))
    assert spent["seconds"] > 0
    prompts = [folder / "work/prompt-tuning/prompt.safetensors" for folder in (run, unbroken)]
    assert prompts[0].read_bytes() == prompts[1].read_bytes()


_TIMES = {"seconds", "seconds_to_best", "processor_seconds", "latency_p50_seconds", "latency_p95_seconds"}
_OF_THE_MACHINE = {"tokens_per_second", "peak_memory_bytes", "energy_joules", "created", "command"}


def timeless(comparison: Path) -> Any:
    def cleaned(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: cleaned(v) for k, v in value.items() if k not in _TIMES | _OF_THE_MACHINE}
        if isinstance(value, list):
            return [cleaned(item) for item in value if not str(item).startswith("Times hold waits")]
        return value

    return cleaned(json.loads((comparison / "comparison.json").read_text(encoding="utf-8")))
