import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.commands import QUICK, call, invoke, listing, read_metrics, tune
from tests.tiny_folder import ROWS, TICKETS, write_rows
from tuningfork.errors import ContextLengthError, FormatError, PromptError, RunError, TaskError

FILES_OF_A_RUN = [
    "checkpoints",
    "metrics.jsonl",
    "prompt.json",
    "prompt.safetensors",
    "result.json",
    "run.json",
    "task.yaml",
    "test_predictions.jsonl",
]
KINDS = tuple(ROWS)


def result_of(run: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((run / "result.json").read_text(encoding="utf-8"))
    return result


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_task_is_tuned_end_to_end(runs: Path, kind: str) -> None:
    run = runs / f"{kind}-1"
    assert sorted(path.name for path in run.iterdir()) == FILES_OF_A_RUN
    assert [path.suffix for path in (run / "checkpoints").iterdir()] == [".safetensors"]
    result = result_of(run)
    names = [way["name"] for way in result["ways"]]
    assert names[:2] == ["no prompt", "text prompt"]
    assert names[2].startswith("few-shot, ")
    assert names[3:] == ["tuned prompt"]
    for way in result["ways"]:
        assert way["num_rows"] == result["num_test"]
        assert way["low"] <= way["score"] <= way["high"]
        assert way["low"] < way["high"]
    assert result["base_is_unchanged"] is True
    assert result["test_reads"] == 1
    assert result["num_train"] + result["num_validation"] + result["num_test"] == len(ROWS[kind])
    predictions = (run / "test_predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(predictions) == result["num_test"]
    assert set(json.loads(predictions[0])["predictions"]) == set(names)


@pytest.mark.parametrize("kind", KINDS)
def test_tuned_is_never_worse_than_the_text_prompt_on_validation(runs: Path, kind: str) -> None:
    run = runs / f"{kind}-1"
    result = result_of(run)
    assert json.loads((run / "prompt.json").read_text(encoding="utf-8"))["kind"] == "soft"
    assert (
        min(candidate["log_loss"] for candidate in result["candidates"]) < result["text_validation_log_loss"]
    )
    assert result["start_gap"] < 1e-3


def test_extraction_and_conversations_are_recognised(runs: Path) -> None:
    types = {}
    for kind in KINDS:
        lines = (runs / f"{kind}-1" / "task.yaml").read_text(encoding="utf-8").splitlines()
        types[kind] = next(line.removeprefix("type: ") for line in lines if line.startswith("type: "))
    assert types == {
        "classification": "classification",
        "generation": "generation",
        "extraction": "extraction",
        "messages": "generation",
    }


def test_the_result_fits_80_columns(workplace: Path, runs: Path) -> None:
    for kind in KINDS:
        result = result_of(runs / f"{kind}-1")
        shown = invoke(workplace, "show", runs / f"{kind}-1").stdout.splitlines()
        assert max(map(len, shown)) <= 80
        assert any(f"{result['metric']} on test (n = {result['num_test']})" in line for line in shown)
        for way in result["ways"]:
            digits = result["digits"]
            figures = f"{way['score']:.{digits}f}  [{way['low']:.{digits}f}, {way['high']:.{digits}f}]"
            (line,) = [line for line in shown if line.startswith(way["name"])]
            assert figures in line
            assert f"{way['trained_parameters']:,}" in line


def test_people_see_plan_table_verdict_and_what_to_do_next(model: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "replies.jsonl", ROWS["generation"])
    completed = invoke(tmp_path, "tune", "replies.jsonl", "--model", model, *QUICK, "--seeds", "2")
    assert completed.code == 0
    assert completed.stderr == ""
    for expected in (
        "Read 16 examples from replies.jsonl. Guessed from the columns: input `message`, target `reply`.",
        "Type generation: the 16 targets are 16 different texts.",
        "Task      replies, saved as replies.task.yaml (edit and rerun any time)",
        "Data      8 train / 3 validation / 5 test (test held out by seed 0)",
        "Run       runs/replies-1",
        "step 0 equals the text prompt",
        "chrf on test (n = 5)",
        "Over 2 seeds of the same setting:",
        "Test set read for the first time. Base model unchanged, bit for bit.",
        "Saved     runs/replies-1",
        'Try       tuningfork run runs/replies-1 "..."',
    ):
        assert expected in completed.stdout
    assert "95 % interval [" in " ".join(completed.stdout.split())
    assert "\n\n\n" not in completed.stdout


def test_json_is_one_object_on_standard_output(model: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "tickets.jsonl", TICKETS)
    completed = invoke(tmp_path, "tune", "tickets.jsonl", "--model", model, "--json", *QUICK)
    printed = json.loads(completed.stdout)
    result = result_of(tmp_path / "runs" / "tickets-1")
    assert printed == {"path": "runs/tickets-1", "result": result, "version": "tickets@1"}
    assert "Data      " in completed.stderr


def test_dry_run_tells_the_plan_and_writes_nothing(model: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "tickets.jsonl", TICKETS)
    before = listing(tmp_path)
    completed = invoke(tmp_path, "tune", "tickets.jsonl", "--model", model, "--dry-run", *QUICK)
    assert completed.code == 0
    assert "Task      tickets, not saved in a dry run" in completed.stdout
    assert "Plan      1 " in completed.stdout
    assert listing(tmp_path) == before


def test_own_test_set_and_everything_found_wrong_before_training(model: Path, tmp_path: Path) -> None:
    repeated = [*TICKETS, TICKETS[3], {"message": "REFUND  0", "queue": "billing"}]
    write_rows(tmp_path / "tickets.jsonl", repeated)
    write_rows(
        tmp_path / "test.jsonl", [TICKETS[0], *({"message": f"new {i}", "queue": "billing"} for i in "abc")]
    )
    completed = invoke(tmp_path, "tune", "tickets.jsonl", "--test", "test.jsonl", "--model", model, *QUICK)
    assert completed.code == 0, completed.stderr
    found = (
        "Check     1 duplicate dropped: tickets.jsonl line 25 (as tickets.jsonl line 4)",
        "Check     1 near-duplicate kept (case or spaces differ): tickets.jsonl line 26",
        "Leak      test.jsonl line 1 has the input of tickets.jsonl line 1",
        "Left out  2 training rows whose input is also in the test set",
    )
    start = completed.stdout.index("Run       ")
    for line in found:
        assert line in completed.stdout[:start]
    assert "4 test (test from test.jsonl)" in completed.stdout
    assert result_of(tmp_path / "runs" / "tickets-1")["num_test"] == 4


def test_over_long_row_is_named_with_both_numbers(model: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "long.jsonl", [*TICKETS, {"message": "x" * 2000, "queue": "billing"}])
    expected = (
        r"long.jsonl line 25: prompt \d+ \+ input 20\d\d \+ answer \d+ = 2\d\d\d tokens.*maximum is 2048"
    )
    with pytest.raises(ContextLengthError, match=expected):
        call(tmp_path, "tune", "long.jsonl", "--model", model, *QUICK)
    assert not (tmp_path / "runs").exists()


def test_over_long_row_can_be_left_out(model: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "long.jsonl", [*TICKETS, {"message": "x" * 2000, "queue": "billing"}])
    printed = call(tmp_path, "tune", "long.jsonl", "--model", model, "--skip-bad-rows", "--dry-run", *QUICK)
    assert "Check     1 over-long row dropped: long.jsonl line 25 (length 2" in printed


def test_reads_of_one_test_set_are_counted(model: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "tickets.jsonl", TICKETS)
    first = tune(tmp_path, model, "tickets.jsonl")
    second = tune(tmp_path, model, "tickets.jsonl", "--lr", "0.05")
    other = tune(tmp_path, model, "tickets.jsonl", "--seed", "3")
    assert [result_of(run)["test_reads"] for run in (first, second, other)] == [1, 2, 1]
    assert "Test set read 2 times by runs in this folder." in invoke(tmp_path, "show", second).stdout


def test_training_that_gains_nothing_keeps_the_text_prompt(model: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "tickets.jsonl", TICKETS)
    options = ("--lr", "1e-30", "--max-steps", "4", "--method", "prompt_tuning")
    completed = invoke(tmp_path, "tune", "tickets.jsonl", "--model", model, *options)
    assert completed.code == 0, completed.stderr
    assert "nothing tuned beats the text prompt on validation: the text prompt is kept" in completed.stdout
    run = tmp_path / "runs" / "tickets-1"
    assert json.loads((run / "prompt.json").read_text(encoding="utf-8"))["kind"] == "text"
    assert not (run / "prompt.safetensors").exists()
    ways = {way["name"]: way for way in result_of(run)["ways"]}
    assert ways["tuned prompt"]["score"] == ways["text prompt"]["score"]
    assert "the text prompt (nothing tuned was better on validation)" in invoke(tmp_path, "show", run).stdout
    assert invoke(tmp_path, "run", run, "refund 3").stdout.strip() in ("billing", "tech_team")


def test_unknown_method_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match="unknown soft-prompt method 'prompt-tuning': did you mean"):
        call(tmp_path, "tune", "nothing.jsonl", "--method", "prompt-tuning")


def test_columns_that_the_task_file_does_not_name_are_refused(workplace: Path, model: Path) -> None:
    with pytest.raises(
        TaskError, match=r"classification\.task\.yaml: names other columns than --input and --target"
    ):
        call(
            workplace, "tune", "classification.jsonl", "--model", model,
            "--input", "queue", "--target", "message",
        )  # fmt: skip


def test_finished_run_cannot_be_resumed(workplace: Path) -> None:
    with pytest.raises(
        RunError, match=r"this run is finished; see it with: tuningfork show runs/generation-1"
    ):
        call(workplace, "tune", "--resume", "runs/generation-1")


@pytest.fixture
def unfinished(model: Path, tmp_path: Path) -> Path:
    """A run that lacks its result, as if it had been cut off just before the end."""
    write_rows(tmp_path / "tickets.jsonl", TICKETS)
    run = tune(tmp_path, model, "tickets.jsonl")
    (run / "result.json").unlink()
    return run


def test_resume_after_a_change_names_what_changed(unfinished: Path, other_model: Path) -> None:
    folder = unfinished.parents[1]
    write_rows(folder / "tickets.jsonl", [*TICKETS[:-1], {"message": "crash 99", "queue": "tech_team"}])
    with pytest.raises(RunError, match="cannot be resumed, changed since it began: the data"):
        call(folder, "tune", "--resume", unfinished)
    write_rows(folder / "tickets.jsonl", TICKETS)
    task = unfinished / "task.yaml"
    text = task.read_text(encoding="utf-8")
    task.write_text(text.replace("Read the message", "Look at the message"), encoding="utf-8")
    with pytest.raises(RunError, match="changed since it began: the task;"):
        call(folder, "tune", "--resume", unfinished)
    task.write_text(text, encoding="utf-8")
    record = json.loads((unfinished / "run.json").read_text(encoding="utf-8"))
    record["options"]["model"] = str(other_model)
    (unfinished / "run.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(RunError, match="changed since it began: the model's weights;"):
        call(folder, "tune", "--resume", unfinished)


def command_line(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "tuningfork", *map(str, arguments)]


def start_and_signal(cwd: Path, arguments: list[str], metrics: Path, lines: int, what: signal.Signals) -> Any:
    """Start the command in a process of its own and signal it once `metrics` has `lines` lines."""
    process = subprocess.Popen(
        arguments, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    while process.poll() is None and (not metrics.exists() or metrics.read_bytes().count(b"\n") < lines):
        time.sleep(0.01)
    process.send_signal(what)
    output, error = process.communicate(timeout=60)
    return process.returncode, output, error


def test_interrupted_run_says_how_to_go_on_and_does(model: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "tickets.jsonl", TICKETS)
    run = tmp_path / "runs" / "tickets-1"
    # Long enough to be still running when the signal arrives, however fast the machine.
    long = ("--max-steps", "400", "--validate-every", "200", "--patience", "0")
    command = command_line("tune", "tickets.jsonl", "--model", model, *QUICK, *long)
    code, _, error = start_and_signal(tmp_path, command, run / "metrics.jsonl", 6, signal.SIGINT)
    assert code == 130
    assert error == "Interrupted; go on with: tuningfork tune --resume runs/tickets-1\n"
    assert not (run / "result.json").exists()
    assert "unfinished, tune --resume" in invoke(tmp_path, "show").stdout
    with pytest.raises(RunError, match=r"not finished; go on with: tuningfork tune --resume runs/tickets-1"):
        call(tmp_path, "show", "runs/tickets-1")
    resumed = invoke(tmp_path, "tune", "--resume", "runs/tickets-1")
    assert resumed.code == 0, resumed.stderr
    assert "Resume    runs/tickets-1" in resumed.stdout
    assert steps_by_candidate(run) == {"prompt_tuning-lr0.1-seed0": list(range(1, 401))}


@pytest.mark.slow
def test_killed_run_resumes_bit_for_bit(model: Path, tmp_path: Path) -> None:
    options = (
        "--model", model, "--max-steps", "40", "--lr", "0.1", "--lr", "0.05", "--method", "prompt_tuning",
        "--seeds", "2", "--validate-every", "5", "--checkpoint-every", "7", "--patience", "0",
    )  # fmt: skip
    write_rows(tmp_path / "tickets.jsonl", TICKETS)
    run, unbroken = tmp_path / "runs" / "tickets-1", tmp_path / "unbroken" / "tickets-1"
    for lines, command in (
        (20, command_line("tune", "tickets.jsonl", *options)),
        (150, command_line("tune", "--resume", "runs/tickets-1")),
    ):
        code, _, _ = start_and_signal(tmp_path, command, run / "metrics.jsonl", lines, signal.SIGKILL)
        assert code == -signal.SIGKILL
        assert not (run / "result.json").exists()
    assert invoke(tmp_path, "tune", "--resume", "runs/tickets-1").code == 0
    assert invoke(tmp_path, "tune", "tickets.jsonl", *options, "--runs", "unbroken").code == 0

    assert (run / "prompt.safetensors").read_bytes() == (unbroken / "prompt.safetensors").read_bytes()
    steps = steps_by_candidate(run)
    assert steps == steps_by_candidate(unbroken)
    # Two settings in three folds each, two seeds of the better one on all rows.
    assert len(steps) == 8
    assert all(taken == list(range(1, len(taken) + 1)) for taken in steps.values())
    assert figures(run) == figures(unbroken)


def steps_by_candidate(run: Path) -> dict[str, list[int]]:
    steps: dict[str, list[int]] = {}
    for line in read_metrics(run):
        if line["event"] == "StepFinished":
            steps.setdefault(line["candidate"], []).append(line["step"])
    return steps


def figures(run: Path) -> set[tuple[Any, ...]]:
    """Every figure of the metrics but the time, none of which may occur twice."""
    lines = [
        tuple(sorted((name, value) for name, value in line.items() if name != "seconds"))
        for line in read_metrics(run)
    ]
    assert len(set(lines)) == len(lines)
    return set(lines)


def test_resume_of_nothing_lists_the_runs(workplace: Path) -> None:
    with pytest.raises(RunError, match=r"runs/nope: no run here \(no run.json\); runs there: .*messages-1"):
        call(workplace, "tune", "--resume", "runs/nope")


def test_a_prompt_with_a_head_goes_the_whole_way(model: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "tickets.jsonl", TICKETS)
    completed = invoke(
        tmp_path, "tune", "tickets.jsonl", "--model", model, "--method", "p_tuning_v2", "--max-steps", "20",
        "--lr", "0.03", "--seeds", "2",
    )  # fmt: skip
    assert completed.code == 0, completed.stderr
    run = tmp_path / "runs" / "tickets-1"
    assert json.loads((run / "prompt.json").read_text(encoding="utf-8"))["method"] == "p_tuning_v2"
    result = result_of(run)
    assert result["base_is_unchanged"]
    (log_loss, *_) = [candidate["log_loss"] for candidate in result["candidates"]]
    assert log_loss < math.log(2) / 2

    shown = invoke(tmp_path, "show", run)
    assert shown.code == 0, shown.stderr
    assert "p_tuning_v2" in shown.stdout
    write_rows(tmp_path / "rows.jsonl", TICKETS[:6])
    predicted = invoke(tmp_path, "predict", run, "rows.jsonl")
    assert predicted.code == 0, predicted.stderr
    answers = [json.loads(line) for line in predicted.stdout.splitlines()]
    assert [answer["prediction"] for answer in answers] == [answer["queue"] for answer in answers]
    assert all(sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5) for answer in answers)
    with pytest.raises(FormatError, match="the head of this prompt has a bias, and those of causal models"):
        call(tmp_path, "export", run, "--output", "adapter")
    assert not (tmp_path / "adapter").exists()


def test_a_method_that_needs_labels_is_refused_for_text(model: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "replies.jsonl", ROWS["generation"])
    with pytest.raises(PromptError, match=r"p_tuning_v2 .* needs a classification task"):
        call(tmp_path, "tune", "replies.jsonl", "--model", model, "--method", "p_tuning_v2")
    assert not (tmp_path / "runs").exists()
