import json
from pathlib import Path

from tests.cli.library.conftest import Command
from tests.library.prompts import LINEAGE, add
from tuningfork.library.store import Library


def add_unknown_data(place: Path) -> None:
    """Version 3, which learned from nobody knows what."""
    with Library(place / "library") as library:
        add(library, tensors=b"unknown", lineage=LINEAGE.model_copy(update={"data_hash": ""}))


def test_gates_are_listed_when_it_moves(command: Command) -> None:
    moved = command("promote", "shop/tickets@1")
    assert moved.code == 0
    contract, data, last = moved.stdout.splitlines()
    assert contract.startswith("passed    contract: classification from text")
    assert data == "passed    known_data: trained on rows dddddddddddd"
    assert last == "Moved     shop/tickets@production: nothing -> @1"
    assert command("promote", "shop/tickets@1").stdout == "Unchanged shop/tickets@production is @1 already\n"
    assert command("promote", "shop/tickets@production", "--alias", "stable").stdout == (
        "Moved     shop/tickets@stable: nothing -> @1\n"
    )


def test_gates_are_listed_when_it_does_not(command: Command, place: Path) -> None:
    add_unknown_data(place)
    refused = command("promote", "shop/tickets@3")
    assert refused.code == 1
    contract, data, last = refused.stdout.splitlines()
    assert contract.startswith("passed    contract")
    assert data.startswith("failed    known_data: hash of the training rows unknown: register the run")
    assert last == "Refused   shop/tickets@production stays unset: 1 of 2 gates failed"
    described = json.loads(command("promote", "shop/tickets@3", "--json").stdout)
    assert (described["moved"], described["before"], described["after"]) == (False, None, None)
    assert [gate["passed"] for gate in described["gates"]] == [True, False]


def test_a_dry_run_judges_and_writes_nothing(command: Command, place: Path) -> None:
    add_unknown_data(place)
    with Library(place / "library") as library:
        head = library.head()
        for version, code, last in (("1", 0, "Would     move"), ("3", 1, "Refused")):
            tried = command("promote", f"shop/tickets@{version}", "--dry-run")
            assert tried.code == code
            assert tried.stdout.splitlines()[-1].startswith(last)
            assert "known_data: " in tried.stdout
        described = json.loads(command("promote", "shop/tickets@1", "--dry-run", "--json").stdout)
        assert (described["moved"], described["would_move"]) == (False, True)
        assert library.head() == head
        assert library.page("shop/tickets").aliases == {}


def test_an_override_needs_a_reason_and_is_told(command: Command, place: Path) -> None:
    add_unknown_data(place)
    assert "overriding gates needs a reason" in command("promote", "shop/tickets@3", "--override").stderr
    moved = command("promote", "shop/tickets@3", "--override", "--reason", "fire")
    assert moved.stdout.splitlines()[-1] == (
        "Moved     shop/tickets@production: nothing -> @3, 1 of 2 gates failed, overridden"
    )
    assert "@3 overridden" in command("history", "shop/tickets").stdout


def test_only_from_where_it_is_expected_to_be(command: Command) -> None:
    assert command("promote", "shop/tickets@1", "--expected", "0").code == 0
    late = command("promote", "shop/tickets@2", "--expected", "0")
    assert late.code == 1
    assert "expected to point to nothing, found shop/tickets@1" in late.stderr
    assert command("promote", "shop/tickets@2", "--expected", "1").code == 0


def test_which_version_has_to_be_said(command: Command) -> None:
    assert "shop/tickets: say which version: shop/tickets@3" in command("promote", "shop/tickets").stderr


def test_back_to_the_version_before(command: Command) -> None:
    assert "never pointed to another version" in command("rollback", "shop/tickets").stderr
    command("promote", "shop/tickets@1")
    command("promote", "shop/tickets@2")
    assert command("rollback", "shop/tickets").stdout == "Moved     shop/tickets@production: @2 -> @1\n"
    assert "never production" in command("rollback", "shop/tickets", "--to", "3").stderr
    back = json.loads(command("rollback", "shop/tickets", "--to", "2", "--json").stdout)
    assert (back["before"], back["after"]) == (1, 2)
