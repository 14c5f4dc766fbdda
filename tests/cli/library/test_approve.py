import json

from tests.cli.library.conftest import Command


def test_an_approval_is_given_and_taken_back(command: Command) -> None:
    given = command("approve", "shop/tickets@1", "--actor", "eve", "--note", "I read all of it")
    assert given.code == 0, given.stderr
    assert given.stdout.startswith("Approved  shop/tickets@1 for production, by eve at 20")
    described = json.loads(command("approve", "shop/tickets@1", "--actor", "eve", "--json").stdout)
    assert (described["note"], described["withdrawn"]) == ("I read all of it", None)
    assert command("withdraw", "shop/tickets@1", "--actor", "eve").stdout == (
        "Withdrawn shop/tickets@1 for production, by eve\n"
    )
    refused = command("withdraw", "shop/tickets@1", "--actor", "eve")
    assert "eve has not approved it for production" in refused.stderr


def test_nobody_approves_their_own(command: Command) -> None:
    refused = command("approve", "shop/tickets@2", "--actor", "bob", "--alias", "staging")
    assert refused.code == 1
    assert "shop/tickets@2: is bob's own; somebody else has to approve it" in refused.stderr
    assert json.loads(
        command("approve", "shop/tickets@1", "--actor", "bob", "--alias", "staging", "--json").stdout
    )["alias"] == ("staging")
