import json

from tests.cli.library.conftest import Command


def test_a_strip_for_each_alias_and_a_table(command: Command) -> None:
    assert command("timeline", "shop/tickets").stdout == "No alias has pointed anywhere yet\n"
    command("promote", "shop/tickets@1", "--actor", "ann", "--reason", "good enough")
    command("promote", "shop/tickets@2", "--alias", "staging")
    command("promote", "shop/tickets@2", "--actor", "bob")
    command("rollback", "shop/tickets", "--actor", "eve", "--reason", "slow")
    lines = command("timeline", "shop/tickets").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[1].startswith("production  |")
    assert lines[2].startswith("staging     ")
    rows = lines[lines.index("") + 2 :]
    assert [row.split()[:2] for row in rows if row[0] != " "] == [
        ["production", "@1"], ["staging", "@2"], ["production", "@2"], ["production", "@1"],
    ]  # fmt: skip
    assert "slow, back" in rows[-1]
    assert "now" in rows[-1]
    described = json.loads(command("timeline", "shop/tickets", "--json").stdout)
    assert [(tenure["alias"], tenure["number"]) for tenure in described][-1] == ("production", 1)
    assert described[0]["until"] == described[2]["since"]
