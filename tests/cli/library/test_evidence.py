import json
from pathlib import Path

import pytest

from tests.cli.library.conftest import Command
from tests.commands import Completed, invoke
from tests.library.measured import evaluation_of, evidence_from, row_keys
from tuningfork.library.evidence import write_evidence
from tuningfork.library.store import Library


def test_evidence_in_a_file_is_recorded_and_listed(command: Command, place: Path) -> None:
    with Library(place / "library") as library:
        version = library.get("shop/tickets@1")
    (place / "evidence.jsonl").write_bytes(write_evidence(evaluation_of(version, [1, 0, 1])))
    added = command("evidence", "add", "shop/tickets@1", "--file", "evidence.jsonl", "--actor", "eve")
    assert added.code == 0, added.stderr
    evidence, rows, freeze = added.stdout.splitlines()
    assert evidence.startswith("Evidence  evaluation of shop/tickets@1, 3 rows, ")
    assert rows.startswith("Rows      shop/tickets-test (")
    assert rows.endswith("), a test set, not frozen")
    assert freeze.startswith("Freeze    tuningfork library dataset freeze ")
    listed = command("evidence", "list", "shop/tickets@1").stdout
    cells = listed.splitlines()[1].split()
    assert cells[:7] == ["evaluation", "shop/tickets-test", "no", "rows", "3,", "accuracy", "eve"]
    assert max(map(len, listed.splitlines())) <= 80
    assert command(*freeze.split()[3:]).code == 0
    (shown,) = json.loads(command("evidence", "list", "shop/tickets@1", "--json").stdout)["evidence"]
    assert (shown["kind"], shown["frozen"], shown["author"]) == ("evaluation", True, "eve")
    again = command("evidence", "add", "shop/tickets@1", "--file", "evidence.jsonl", "--json")
    assert json.loads(again.stdout) | {"frozen": True} == shown | {"reference": "shop/tickets@1"}
    other = command("evidence", "add", "shop/tickets@2", "--file", "evidence.jsonl")
    assert "evaluation evidence is of content" in other.stderr


def test_evidence_without_a_set_has_none_to_freeze(command: Command, place: Path) -> None:
    with Library(place / "library") as library:
        version = library.get("shop/tickets@1")
    calls = [{"row": key, "latency_seconds": 0.1} for key in row_keys(3)]
    (place / "cost.jsonl").write_bytes(write_evidence(evidence_from(version, "cost", calls)))
    (line,) = command("evidence", "add", "shop/tickets@1", "--file", "cost.jsonl").stdout.splitlines()
    assert line.startswith("Evidence  cost of shop/tickets@1, 3 rows, ")


def test_nothing_measured_says_how_to_measure(command: Command) -> None:
    assert "Nothing was measured yet" in command("evidence", "list", "shop/tickets@2").stdout


@pytest.mark.parametrize("options", [(), ("--run", "a", "--file", "b"), ("--rows", "a", "--comparison", "b")])
def test_one_source_is_named(command: Command, options: tuple[str, ...]) -> None:
    refused = command("evidence", "add", "shop/tickets@1", *options)
    assert refused.code == 1
    found = ", ".join(name for name in options if name.startswith("--")) or "none"
    assert f"name one of --rows, --run, --comparison and --file, found {found}" in refused.stderr


def test_a_comparison_that_is_not_there_is_told(command: Command) -> None:
    refused = command("evidence", "add", "shop/tickets@1", "--comparison", "nowhere")
    assert refused.stderr.startswith("Error: nowhere: no comparison here")


def test_from_a_run_to_production_behind_all_gates(workplace: Path, model: Path, tmp_path: Path) -> None:
    """The default gates of production, from the words of a task to the prompt tuned from them."""

    def library(*arguments: str | Path) -> Completed:
        return invoke(tmp_path, "library", *arguments)

    run = workplace / "runs" / "classification-1"
    library("register", workplace / "classification.task.yaml", "--model", model, "--name", "shop/tickets")
    refused = library("promote", "shop/tickets@1")
    assert refused.code == 1
    assert "failed    evaluated: no evaluation of shop/tickets@1" in refused.stdout
    bring = next(line for line in refused.stdout.splitlines() if "evidence add" in line)
    assert bring.endswith("tuningfork library evidence add shop/tickets@1 --rows ROWS")
    measured = library("evidence", "add", "shop/tickets@1", "--rows", run)
    assert measured.code == 0, measured.stderr
    freeze = measured.stdout.splitlines()[-1].removeprefix("Freeze    tuningfork library ")
    assert "is not frozen; freeze it with: tuningfork library " + freeze in library(
        "promote", "shop/tickets@1"
    ).stdout.replace("\n", " ")
    assert library(*freeze.split()).code == 0
    few = library("promote", "shop/tickets@1")
    assert "rows, at least 20 are needed" in few.stdout
    (tmp_path / "gates.yaml").write_text(
        "contract: {}\nknown_data: {}\nevaluated: {min_rows: 2}\nno_worse: {margin: 0.99}\n"
        "critical_cases: {}\napprovals: {count: 1}\n",
        encoding="utf-8",
    )
    assert library("policy", "shop/tickets", "--set", "gates.yaml").code == 0
    assert "failed    approvals" in library("promote", "shop/tickets@1").stdout
    assert library("approve", "shop/tickets@1", "--actor", "eve").code == 0
    moved = library("promote", "shop/tickets@1")
    assert moved.code == 0, moved.stdout
    # Registering the run records what it measured of its prompt and of its words.
    library("register", run, "--name", "shop/tickets")
    library("approve", "shop/tickets@2", "--actor", "eve")
    judged = library("promote", "shop/tickets@2", "--dry-run")
    assert "no_worse: accuracy" in judged.stdout
    assert "against shop/tickets@1" in judged.stdout.replace("\n", " ")
    assert "rows of shop/tickets-test" in judged.stdout.replace("\n", " ")
    listed = json.loads(library("evidence", "list", "shop/tickets@1", "--json").stdout)["evidence"]
    assert len(listed) == 2
    by_run = library("evidence", "add", "shop/tickets@1", "--run", run, "--json")
    assert json.loads(by_run.stdout)["id"] in [one["id"] for one in listed]
