import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.commands import Completed, call, invoke, listing, tune
from tests.tiny_folder import TICKETS, write_rows
from tuningfork.errors import ModelError, PromptError, RunError
from tuningfork.library.artefact_files import load_artefact
from tuningfork.models.artefacts import InputPrompt


@pytest.fixture(scope="module")
def place(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a task, and two runs of it with other rates; not to be changed."""
    folder = tmp_path_factory.mktemp("composing")
    write_rows(folder / "tickets.jsonl", TICKETS)
    for rate in ("0.1", "0.3"):
        tune(folder, model, "tickets.jsonl", "--lr", rate)
    return folder


def embeddings(run: Path) -> torch.Tensor:
    prompt = load_artefact(run / "prompt.safetensors")[0]
    assert isinstance(prompt, InputPrompt)
    return prompt.embeddings


def compose(place: Path, *arguments: str | Path) -> Completed:
    return invoke(place, "compose", *arguments, "--task", "tickets.task.yaml", columns=200)


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_prompts_are_concatenated_into_a_run_to_use_like_any_other(place: Path, tmp_path: Path) -> None:
    made = tmp_path / "both"
    completed = compose(place, "concatenate", "runs/tickets-1", "runs/tickets-2", "-o", made)
    assert completed.code == 0, completed.stderr
    assert "composed prompt" in completed.stdout
    one, two = (embeddings(place / "runs" / f"tickets-{number}") for number in (1, 2))
    assert torch.equal(embeddings(made), torch.cat([one, two]))
    assert sorted(listing(made)) == [
        "prompt.json", "prompt.safetensors", "result.json", "run.json", "task.yaml", "test_predictions.jsonl",
    ]  # fmt: skip
    shown = invoke(place, "show", made, columns=200).stdout
    assert f"Prompt    composed prompt by concatenate, {2 * len(one)} virtual tokens" in shown
    assert "Part      runs/tickets-2 (" in shown
    assert invoke(place, "predict", made, "tickets.jsonl").stdout.count('"prediction"') == len(TICKETS)
    assert invoke(place, "export", made, "-o", tmp_path / "adapter").code == 0
    started = invoke(
        place, "tune", "tickets.task.yaml", "--start-from", made, "--dry-run", "--method", "prompt_tuning",
        "--model", read(made / "run.json")["model"]["name"], columns=200,
    )  # fmt: skip
    assert started.code == 0, started.stderr
    assert f"{2 * len(one)} virtual tokens for" in started.stdout
    assert invoke(place, "tune", "--resume", made).code == 1


def test_an_average_has_the_shares_that_were_given(place: Path, tmp_path: Path) -> None:
    runs = ("runs/tickets-1", "runs/tickets-2")
    completed = compose(place, "average", *runs, "--weights", "1,3", "-o", tmp_path / "mean", "--json")
    assert completed.code == 0, completed.stderr
    assert json.loads(completed.stdout)["path"] == str(tmp_path / "mean")
    one, two = (embeddings(place / run) for run in runs)
    assert torch.allclose(embeddings(tmp_path / "mean"), 0.25 * one + 0.75 * two, atol=1e-6)
    parts = read(tmp_path / "mean" / "run.json")["composition"]["parts"]
    assert [part["weight"] for part in parts] == [0.25, 0.75]
    assert "share 0.75" in invoke(place, "show", tmp_path / "mean", columns=200).stdout


def test_an_ensemble_answers_as_its_runs_do_together(place: Path, tmp_path: Path) -> None:
    made = tmp_path / "jury"
    completed = compose(place, "ensemble", "runs/tickets-1", "runs/tickets-2", "-o", made)
    assert completed.code == 0, completed.stderr
    assert "ensemble of 2 prompts" in completed.stdout
    assert (made / "prompt-2.safetensors").is_file()
    ours = invoke(place, "predict", made, "tickets.jsonl")
    theirs = invoke(place, "predict", "--prompts", "runs/tickets-1,runs/tickets-2", "tickets.jsonl")
    assert ours.code == 0, ours.stderr
    assert ours.stdout == theirs.stdout
    listed = invoke(place, "show", "--runs", tmp_path, columns=200).stdout
    assert "jury" in listed


def test_a_dry_run_writes_nothing(place: Path, tmp_path: Path) -> None:
    before = listing(place)
    completed = compose(
        place, "concatenate", "runs/tickets-1", "runs/tickets-2", "-o", tmp_path / "no", "--dry-run"
    )
    assert completed.code == 0, completed.stderr
    assert "Compose   concatenate 2 prompts of " in completed.stdout
    assert listing(place) == before
    assert list(tmp_path.iterdir()) == []


def test_mistakes_are_told_and_leave_nothing(place: Path, other_model: Path, tmp_path: Path) -> None:
    task = ("--task", "tickets.task.yaml", "-o", tmp_path / "no")
    both = ("runs/tickets-1", "runs/tickets-2")
    with pytest.raises(PromptError, match="at least two runs, found 1"):
        call(place, "compose", "average", both[0], *task)
    with pytest.raises(PromptError, match="expected numbers between commas, found 'a,b'"):
        call(place, "compose", "average", *both, *task, "--weights", "a,b")
    with pytest.raises(PromptError, match="2 prompts need a weight each, found 3"):
        call(place, "compose", "average", *both, *task, "--weights", "1,1,1")
    with pytest.raises(PromptError, match="weights are shares of an average; leave them with concatenate"):
        call(place, "compose", "concatenate", *both, *task, "--weights", "1,1")
    with pytest.raises(PromptError, match="how an ensemble answers; leave them with average"):
        call(place, "compose", "average", *both, *task, "--combine", "vote")
    with pytest.raises(RunError, match="exists already"):
        call(place, "compose", "average", *both, "--task", "tickets.task.yaml", "-o", tmp_path)
    write_rows(tmp_path / "tickets.jsonl", TICKETS)
    other = tune(tmp_path, other_model, "tickets.jsonl")
    with pytest.raises(ModelError, match=r"tickets-1: its prompt is for another base model .*other weights"):
        call(place, "compose", "average", both[0], other, *task)
    assert not (tmp_path / "no").exists()
