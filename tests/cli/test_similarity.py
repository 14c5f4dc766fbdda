import json
from pathlib import Path

from tests.commands import invoke, tune
from tests.tiny_folder import TICKETS, write_rows


def test_the_most_similar_run_is_recommended(
    workplace: Path, runs: Path, tmp_path: Path, model: Path
) -> None:
    write_rows(tmp_path / "tickets.jsonl", TICKETS)
    target = tune(tmp_path, model, "tickets.jsonl")
    completed = invoke(tmp_path, "similar", target, "--runs", runs, "--json")
    ranked = json.loads(completed.stdout)
    cosines = [similarity["of_means"] for similarity in ranked]
    assert cosines == sorted(cosines, reverse=True)
    assert ranked[0]["task"] == "classification"
    printed = invoke(workplace, "similar", target).stdout.splitlines()
    assert printed[0].split() == ["run", "task", "cosine", "of", "means", "of", "tokens"]
    assert printed[-1] == f"Start from the first: tuningfork tune TASK --start-from {printed[1].split()[0]}"
    assert printed[1].split()[0] == "runs/classification-1"
    assert max(map(len, printed)) <= 80


def test_no_other_run_says_how_to_make_one(tmp_path: Path, model: Path) -> None:
    write_rows(tmp_path / "tickets.jsonl", TICKETS)
    target = tune(tmp_path, model, "tickets.jsonl")
    printed = invoke(tmp_path, "similar", target).stdout
    assert " ".join(printed.split()).startswith("No other run in runs has virtual tokens in front")
