import json
from pathlib import Path

from tests.cli.library.conftest import Command
from tests.tiny_folder import TICKETS, write_rows


def test_rows_are_noted_frozen_and_listed(command: Command, place: Path, workplace: Path) -> None:
    write_rows(place / "rows.jsonl", TICKETS)
    task = workplace / "classification.task.yaml"
    assert "No set of rows is known yet" in command("dataset", "list").stdout
    added = command(
        "dataset",
        "add",
        "shop/critical",
        "rows.jsonl",
        "--task",
        task,
        "--role",
        "critical",
        "--actor",
        "eve",
    )
    assert added.code == 0, added.stderr
    rows, freeze = added.stdout.splitlines()
    assert rows.startswith("Rows      shop/critical (")
    assert rows.endswith("), a critical set of 24")
    assert freeze == "Freeze    tuningfork library dataset freeze shop/critical"
    assert command("dataset", "list").stdout.splitlines()[1].split()[2:] == ["critical", "24", "no"]
    frozen = command("dataset", "freeze", "shop/critical").stdout
    assert frozen.startswith("Frozen    shop/critical (")
    (listed,) = json.loads(command("dataset", "list", "--json").stdout)["datasets"]
    assert (listed["num_rows"], listed["author"], bool(listed["frozen"])) == (24, "eve", True)
    again = json.loads(command("dataset", "freeze", listed["sha256"][:8], "--json").stdout)
    assert again == listed
    for line in command("dataset", "list").stdout.splitlines():
        assert len(line) <= 80


def test_an_unknown_set_is_told(command: Command) -> None:
    refused = command("dataset", "freeze", "nothing")
    assert refused.code == 1
    assert "'nothing': no such set of rows; list them with: tuningfork library dataset list" in refused.stderr
