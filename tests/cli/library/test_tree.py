import json
from pathlib import Path

from tests.cli.library.conftest import Command
from tests.library.prompts import add
from tuningfork.library.store import Library


def test_branches_and_candidates(command: Command, place: Path) -> None:
    with Library(place / "library") as library:
        add(library, tensors=b"3", parent=1)
        add(library, tensors=b"4", parent=3, note="a last try")
    command("promote", "shop/tickets@2")
    command("tag", "shop/tickets@4", "short")
    lines = command("tree", "shop/tickets").stdout.splitlines()
    assert lines[0] == "Versions  shop/tickets"
    drawn = [line.partition("  ")[0].rstrip() for line in lines[1:5]]
    assert drawn == ["@1 soft", "├─ @2 soft", "@3 soft", "@4 soft"]
    assert lines[2].endswith("accuracy 0.800 [0.700, 0.900]  production")
    assert lines[4].endswith("short  (a last try)")
    candidates = [line.split() for line in lines[lines.index("") + 2 :]]
    assert [row[:3] for row in candidates] == [["@2", "@1", "production"], ["@4", "@1", "short"]]
    assert max(map(len, lines)) <= 80
    described = json.loads(command("tree", "shop/tickets", "--json").stdout)
    assert [(node["number"], node["parent"]) for node in described["nodes"]] == [
        (1, None),
        (2, 1),
        (3, 1),
        (4, 3),
    ]
    assert described["leaves"] == [{"number": 2, "fork": 1}, {"number": 4, "fork": 1}]


def test_the_newest_are_shown_and_older_counted(command: Command) -> None:
    lines = command("tree", "shop/tickets", "--limit", "1").stdout.splitlines()
    assert [line[:2] for line in lines] == ["Ve", "@2", "1 "]
    assert lines[-1] == "1 older: --limit 2"
