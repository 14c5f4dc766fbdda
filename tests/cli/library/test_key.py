import json
import re

import pytest

from tests.cli.library.conftest import Command
from tuningfork.library.sign_in import system_user


@pytest.fixture
def peopled(command: Command) -> Command:
    command("user", "add", system_user(), "--role", "admin")
    command("user", "add", "bob", "--role", "editor")
    return command


def test_a_key_is_printed_once_and_nothing_else_with_it(peopled: Command) -> None:
    made = peopled("key", "create", "ci", "-s", "read:shop/*", "-s", "register:shop/*")
    assert re.fullmatch(r"tf_[a-z2-7]{8}_[A-Za-z0-9_-]{43}\n", made.stdout)
    prefix, secret = made.stdout[:11], made.stdout.strip()[11:]
    key, warning = made.stderr.splitlines()
    until = r"until \d{4}-\d\d-\d\d \d\d:\d\d UTC"
    assert re.fullmatch(
        rf"Key       {prefix} of {system_user()}, {until}: read:shop/\*@production, register:shop/\*@\*", key
    )
    assert warning.startswith("Warning   This is the only time")
    for listing in (peopled("key", "list"), peopled("key", "list", "--all", "--json")):
        assert prefix in listing.stdout
        assert secret not in listing.stdout + listing.stderr
    assert secret not in made.stderr


def test_keys_as_json(peopled: Command) -> None:
    made = peopled(
        "key", "create", "ci", "--scope", "read:*@*", "--user", "bob", "--expires", "never", "--json"
    )
    described = json.loads(made.stdout)
    secret = described.pop("key")
    assert described["prefix"] == secret[:11]
    assert (described["person"], described["expires"], described["scopes"]) == ("bob", None, ["read:*@*"])
    assert json.loads(peopled("key", "list", "--user", "bob", "--json").stdout) == [described]
    assert json.loads(peopled("key", "list", "--json").stdout) == []


def test_keys_are_listed_and_ended(peopled: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    assert peopled("key", "list").stdout.startswith("No keys; make one with")
    secret = peopled("key", "create", "ci", "--scope", "read:*@*").stdout.strip()
    monkeypatch.setenv("TUNINGFORK_KEY", secret)
    assert peopled("list").code == 0
    monkeypatch.delenv("TUNINGFORK_KEY")
    header, row = peopled("key", "list").stdout.splitlines()
    assert header.split() == ["key", "name", "of", "scopes", "until", "used"]
    assert row.split()[:4] == [secret[:11], "ci", system_user(), "read:*@*"]
    assert "never" not in row
    ended = peopled("key", "revoke", secret[:11], "--reason", "left on a train")
    assert ended.stdout == f"Revoked   {secret[:11]} (ci) of {system_user()}\n"
    assert json.loads(peopled("key", "revoke", secret[:11], "--json").stdout)["revoked"]
    assert "revoked" in peopled("key", "list").stdout
    monkeypatch.setenv("TUNINGFORK_KEY", secret)
    refused = peopled("list")
    assert refused.code == 1
    assert f"the key {secret[:11]} was revoked at" in refused.stderr
    assert secret not in refused.stderr


def test_a_key_that_cannot_be_read_is_told(peopled: Command) -> None:
    for options, reason in (
        (("--scope", "write:*"), "a scope is an action"),
        (("--scope", "read:*", "--expires", "soon"), "a key expires after days or hours"),
        (("--scope", "read:*", "--user", "eve"), "'eve': there is no such person"),
    ):
        refused = peopled("key", "create", "ci", *options)
        assert (refused.code, refused.stdout) == (1, "")
        assert reason in refused.stderr
    assert peopled("key", "create", "ci").code == 2
