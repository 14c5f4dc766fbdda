import json
from pathlib import Path

from tests.cli.library.conftest import Command
from tests.library.prompts import FILE
from tuningfork.library.store import Library


def damage(place: Path) -> Path:
    """Change the file of a version."""
    with Library(place / "library") as library:
        sha256 = library.get("shop/tickets@2").content.files[FILE]
    path = place / "library" / "artifacts" / sha256[:2] / sha256
    path.write_bytes(b"changed")
    return path


def test_a_whole_library_is_told_with_its_head(command: Command, place: Path) -> None:
    with Library(place / "library") as library:
        head = library.head()
    completed = command("verify")
    assert completed.code == 0, completed.stderr
    assert completed.stdout.splitlines()[:2] == [
        "Verified  4 events, 3 versions, 2 files (13 B)",
        f"All well. Head {head}",
    ]
    assert command("verify", "--expect", head).code == 0


def test_problems_are_told_and_end_with_an_error(command: Command, place: Path) -> None:
    path = damage(place)
    completed = command("verify")
    assert completed.code == 1
    assert f"Problem   artifact {path.name}: its bytes were changed" in completed.stdout
    assert "Found 1; --repair may mend 1, files only --from a copy" in completed.stdout
    found = json.loads(command("verify", "--json").stdout)
    assert (found["passed"], found["num_versions"], found["repairs"]) == (False, 3, [])
    assert [problem["where"] for problem in found["problems"]] == [path.name]


def test_a_head_that_is_not_in_the_chain_is_told(command: Command) -> None:
    completed = command("verify", "--expect", "a" * 64)
    assert completed.code == 1
    assert "the event with hash aaaaaaaaaaaa is not in the chain: its end was cut off" in completed.stdout


def test_files_are_brought_back_from_a_copy(command: Command, place: Path) -> None:
    path = damage(place)
    copy = place / "copy" / path.parent.name / path.name
    copy.parent.mkdir(parents=True)
    copy.write_bytes(b"better")
    completed = command("verify", "--repair", "--from", str(place / "copy"), "--actor", "ann")
    assert completed.code == 0, completed.stderr
    assert f"Repaired  artifact {path.name}: brought back from {place / 'copy'}" in completed.stdout
    assert path.read_bytes() == b"better"
    assert json.loads(command("verify", "--json").stdout)["num_events"] == 5


def test_what_cannot_be_is_refused(command: Command, place: Path) -> None:
    completed = command("verify", "--from", str(place))
    assert completed.code == 1
    assert "--from is where --repair takes files from; give both" in completed.stderr
    completed = command("verify", "--repair", "--from", str(place / "nowhere"))
    assert completed.code == 1
    assert "nowhere: there is no folder of artifacts to take files from" in completed.stderr
