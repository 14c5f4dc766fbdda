import json

import pytest

from tests.cli.library.conftest import Command
from tuningfork.library.sign_in import system_user


@pytest.fixture
def as_bob(command: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs commands by a key of bob's, who is a viewer."""
    command("user", "add", system_user(), "--role", "admin")
    command("user", "add", "bob", "--role", "viewer")
    secret = command("key", "create", "all", "--user", "bob", "--scope", "*:*").stdout.strip()

    def called(*arguments: str) -> object:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TUNINGFORK_KEY", secret)
            return command(*arguments)

    return called  # type: ignore[return-value]


def listed(command: Command) -> list[str]:
    return [prompt["name"] for prompt in json.loads(command("list", "--json").stdout)["prompts"]]


def test_roles_of_places_come_and_go(command: Command, as_bob: Command) -> None:
    assert as_bob("tag", "shop/tickets", "new").code == 1
    permitted = command("permit", "bob", "shop/", "--role", "editor")
    assert permitted.stdout == "Permitted bob: viewer; editor at shop/\n"
    assert as_bob("tag", "shop/tickets", "new").code == 0
    assert as_bob("tag", "words", "new").code == 1
    withdrawn = command("permit", "bob", "shop/", "--as-around", "--json")
    assert json.loads(withdrawn.stdout)["permissions"] == {}
    assert as_bob("untag", "shop/tickets", "new").code == 1


def test_who_is_forbidden_sees_nothing(command: Command, as_bob: Command) -> None:
    assert listed(as_bob) == ["shop/tickets", "words"]
    assert command("forbid", "bob", "shop/").stdout == "Forbidden bob: viewer; none at shop/\n"
    assert listed(as_bob) == ["words"]
    for arguments in (("show", "shop/tickets"), ("show", "shop/tickets@1"), ("history", "shop/tickets"),
                      ("check-out", "shop/tickets@1", "out"), ("policy", "shop/tickets")):  # fmt: skip
        refused = as_bob(*arguments)
        assert (refused.code, refused.stdout) == (1, "")
        assert "bob may not read shop/tickets" in refused.stderr
    assert listed(command) == ["shop/tickets", "words"]


@pytest.mark.parametrize("options", [(), ("--role", "editor", "--as-around")])
def test_one_thing_is_said(command: Command, as_bob: Command, options: tuple[str, ...]) -> None:
    refused = command("permit", "bob", "shop/", *options)
    assert (refused.code, refused.stderr) == (1, "Error: shop/: say either --role ROLE or --as-around\n")
