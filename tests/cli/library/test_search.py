import json

from tests.cli.library.conftest import Command


def test_prompts_are_found_by_words(command: Command) -> None:
    completed = command("search", "find", "QUEUE")
    assert completed.code == 0, completed.stderr
    _header, tickets = completed.stdout.splitlines()
    assert tickets.split() == ["shop/tickets", "soft", "@2"]
    assert "No prompt has all these words" in command("search", "queue", "nothing").stdout


def test_pages_follow_each_other(command: Command) -> None:
    first = json.loads(command("search", "say", "--json", "--limit", "1").stdout)
    assert len(first["prompts"]) == 1
    assert f"There are more: --after {first['next']}" in command("search", "say", "-n", "1").stdout
    second = json.loads(command("search", "say", "--json", "-n", "1", "--after", first["next"]).stdout)
    assert second["next"] is None
    assert {page["prompts"][0]["name"] for page in (first, second)} == {"shop/tickets", "words"}


def test_a_folder_limits_finds(command: Command) -> None:
    found = json.loads(command("search", "say", "--folder", "shop", "--json").stdout)
    assert [prompt["name"] for prompt in found["prompts"]] == ["shop/tickets"]
