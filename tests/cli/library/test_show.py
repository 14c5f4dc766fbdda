import json

from tests.cli.library.conftest import Command


def test_a_prompt_with_its_versions_and_what_was_said(command: Command) -> None:
    command("promote", "shop/tickets@1")
    command("tag", "shop/tickets@2", "short")
    command("comment", "shop/tickets@2", "Misses refunds.", "--actor", "eve")
    printed = command("show", "shop/tickets").stdout
    lines = printed.splitlines()
    assert lines[0] == "Prompt    shop/tickets"
    assert lines[1] == "For       Finds the queue."
    assert lines[2].startswith("Owner     ann, since 20")
    assert lines[3] == "Aliases   production @1"
    newest, oldest = (line for line in lines if line.startswith("@"))
    assert "bob" in newest
    assert "accuracy 0.800" in newest
    assert "production" in oldest
    assert lines.index(newest) < lines.index(oldest)
    assert "(first" in printed
    assert "eve of @2, 20" in printed
    assert printed.rstrip().endswith(": Misses refunds.")
    assert max(map(len, lines)) <= 80


def test_older_versions_are_counted(command: Command) -> None:
    printed = command("show", "shop/tickets", "--limit", "1").stdout
    assert printed.splitlines()[-1] == "1 older: --limit 2"


def test_a_version_with_contract_lineage_files_and_figures(command: Command) -> None:
    printed = command("show", "shop/tickets@2").stdout
    lines = printed.splitlines()
    assert lines[0] == "Version   shop/tickets@2 (soft, from @1)"
    assert "Contract  classification: takes text; gives good, bad" in lines
    assert "Data      dddddddddddd" in lines
    assert "Origin    tune" in lines
    assert "Say which." in lines
    (file,) = (line for line in lines if line.startswith("prompt.safetensors"))
    assert file.split()[1:3] == ["6", "B"]
    (accuracy,) = (line for line in lines if line.startswith("accuracy"))
    assert accuracy.split() == ["accuracy", "0.800", "[0.700,", "0.900]", "40"]


def test_json_holds_the_same(command: Command) -> None:
    page = json.loads(command("show", "shop/tickets", "--json").stdout)
    assert [version["number"] for version in page["versions"]] == [2, 1]
    version = json.loads(command("show", "shop/tickets@latest", "--json").stdout)
    assert (version["reference"], version["sizes"]) == ("shop/tickets@2", {"prompt.safetensors": 6})


def test_history_says_what_moved_and_what_was_refused(command: Command) -> None:
    assert command("history", "shop/tickets").stdout == "No alias has pointed anywhere yet\n"
    command("promote", "shop/tickets@1", "--actor", "ann", "--reason", "good enough")
    command("promote", "shop/tickets@2", "--alias", "staging", "--actor", "bob")
    command("promote", "shop/tickets@2", "--actor", "bob")
    command("rollback", "shop/tickets", "--actor", "eve", "--reason", "slow")
    _, first, staged, second, back = command("history", "shop/tickets").stdout.splitlines()
    assert first.endswith("good enough")
    assert "nothing -> @1" in first
    assert "staging" in staged
    assert "@1 -> @2" in second
    assert "@2 -> @1 back" in back
    assert "eve" in back
    events = json.loads(command("history", "shop/tickets", "--alias", "staging", "--json").stdout)
    assert [event["payload"]["after"] for event in events] == [2]


def test_what_is_not_there_is_named(command: Command) -> None:
    assert "did you mean shop/tickets?" in command("show", "shop/ticket").stderr
    assert "its versions are 1 to 2" in command("show", "shop/tickets@9").stderr
