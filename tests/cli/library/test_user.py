import json
from pathlib import Path

import pytest

from tests.cli.library.conftest import Command
from tests.commands import invoke
from tuningfork.library.sign_in import system_user


@pytest.fixture
def peopled(command: Command) -> Command:
    """The library's admin is the user of the system."""
    assert command("user", "add", system_user(), "--role", "admin").code == 0
    return command


def test_people_come_and_change(peopled: Command) -> None:
    me = system_user()
    assert peopled("user", "add", "bob", "--role", "viewer").stdout == "Added     bob: viewer\n"
    assert peopled("user", "role", "bob", "editor").stdout == "Changed   bob: editor\n"
    peopled("permit", "bob", "shop/", "--role", "reviewer")
    assert peopled("user", "disable", "bob").stdout == "Disabled  bob: editor, disabled; reviewer at shop/\n"
    header, *rows = peopled("user", "list").stdout.splitlines()
    assert header.split() == ["name", "role", "elsewhere", "since"]
    assert sorted(row.split()[0] for row in rows) == sorted(["bob", me])
    assert peopled("user", "enable", "bob").stdout == "Enabled   bob: editor; reviewer at shop/\n"
    described = {person["name"]: person for person in json.loads(peopled("user", "list", "--json").stdout)}
    assert described["bob"] | {"created": ""} == {
        "name": "bob",
        "role": "editor",
        "created": "",
        "disabled": None,
        "permissions": {"shop/": "reviewer"},
    }
    assert json.loads(peopled("user", "role", "bob", "viewer", "--json").stdout)["role"] == "viewer"


def test_without_people_that_is_said(command: Command) -> None:
    assert command("user", "list").stdout.startswith("Nobody was added: whoever can open")
    assert command("user", "list", "--json").stdout == "[]\n"


def test_the_first_person_is_who_adds_them_or_has_a_key(command: Command, place: Path) -> None:
    refused = command("user", "add", "somebody-else", "--role", "admin")
    assert refused.code == 1
    assert f"somebody-else: you are {system_user()} here, and nobody could come in any more" in refused.stderr
    assert command("user", "list", "--json").stdout == "[]\n"
    made = command("user", "add", "somebody-else", "--role", "admin", "--key")
    assert made.code == 0
    (secret,) = made.stdout.splitlines()
    assert "Warning   This is the only time that it is shown" in made.stderr
    assert secret[12:] not in made.stderr
    assert f"'{system_user()}' is nobody of this library" in command("user", "list").stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNINGFORK_KEY", secret)
        assert command("user", "add", "bob", "--role", "viewer").code == 0
    assert invoke(place, "library", "list").code == 1


def test_a_library_begins_with_its_admin(tmp_path: Path) -> None:
    added = invoke(tmp_path, "library", "user", "add", system_user(), "--role", "admin")
    assert (added.code, (tmp_path / "library" / "library.db").is_file()) == (0, True)


def test_only_admins_act_for_others(peopled: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    peopled("user", "add", "bob", "--role", "editor")
    assert peopled("tag", "words", "new", "--actor", "bob").code == 0
    made = peopled("key", "create", "ci", "--user", "bob", "--scope", "*:*")
    monkeypatch.setenv("TUNINGFORK_KEY", made.stdout.strip())
    assert (
        peopled("tag", "words", "newer").code == peopled("tag", "words", "newest", "--actor", "bob").code == 0
    )
    refused = peopled("tag", "words", "other", "--actor", system_user())
    assert (refused.code, refused.stdout) == (1, "")
    assert f"bob may not act in the name of '{system_user()}': only an admin may; leave out --actor" in (
        refused.stderr
    )


def test_the_key_says_who_did_it(peopled: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    peopled("user", "add", "bob", "--role", "editor")
    secret = peopled("key", "create", "ci", "--user", "bob", "--scope", "*:*").stdout.strip()
    monkeypatch.setenv("TUNINGFORK_KEY", secret)
    assert peopled("promote", "words@1", "--alias", "beta").code == 0
    (event,) = json.loads(peopled("history", "words", "--json").stdout)
    assert event["actor"] == f"bob (key {secret[:11]})"


def test_an_unknown_role_is_a_usage_error(peopled: Command) -> None:
    assert peopled("user", "add", "bob", "--role", "root").code == 2
    assert peopled("user", "role", system_user(), "boss").code == 2
