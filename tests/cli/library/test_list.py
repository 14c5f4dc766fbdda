import json

from tests.cli.library.conftest import Command


def names(command: Command, *options: str) -> list[str]:
    completed = command("list", "--json", *options)
    assert completed.code == 0, completed.stderr
    return [prompt["name"] for prompt in json.loads(completed.stdout)["prompts"]]


def test_prompts_are_listed_with_what_points_to_them(command: Command) -> None:
    command("promote", "shop/tickets@1")
    command("tag", "shop/tickets", "language:en")
    header, tickets, words = command("list").stdout.splitlines()
    assert header.split() == ["prompt", "kind", "newest", "aliases", "tags"]
    assert tickets.split() == ["shop/tickets", "soft", "@2", "production", "@1", "language:en"]
    assert words.split() == ["words", "soft", "@1"]


def test_options_choose(command: Command) -> None:
    command("promote", "words@1", "--alias", "staging")
    command("tag", "shop/tickets@1", "old")
    assert names(command) == ["shop/tickets", "words"]
    assert names(command, "--folder", "shop") == ["shop/tickets"]
    assert names(command, "--tag", "old") == ["shop/tickets"]
    assert names(command, "--alias", "staging") == ["words"]
    assert names(command, "--kind", "text") == []
    assert command("list", "--kind", "text").stdout.startswith("No such prompts; register one with")
    assert command("list", "--kind", "sweet").code == 2


def test_a_page_says_how_to_see_the_next(command: Command) -> None:
    page = command("list", "--limit", "1")
    assert page.stdout.splitlines()[-1] == "There are more: --after shop/tickets"
    last = command("list", "--limit", "1", "--after", "shop/tickets")
    assert "There are more" not in last.stdout
    assert "words" in last.stdout
    assert json.loads(command("list", "-n", "1", "--json").stdout)["has_more"] is True
