import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.library.conftest import Command
from tests.json_server import JsonServer, serving_json
from tests.library.exchange.langfuse_server import PUBLIC, SECRET, RecordedLangfuse
from tuningfork.library.store import Library


@pytest.fixture
def there() -> RecordedLangfuse:
    made = RecordedLangfuse()
    made.add({"name": "team/reply", "prompt": "Answer {{question}}.", "tags": ["area:shop"]})
    made.add({"name": "team/reply", "prompt": "Reply to {{question}}.", "labels": ["production"]})
    return made


@pytest.fixture
def server(there: RecordedLangfuse, monkeypatch: pytest.MonkeyPatch) -> Iterator[JsonServer]:
    monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", PUBLIC)
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", SECRET)
    with serving_json(there) as running:
        yield running


def test_words_come_from_langfuse_and_run(command: Command, server: JsonServer, place: Path) -> None:
    tried = command("pull", "team/reply@production", "--langfuse", server.address, "--dry-run")
    assert tried.stdout.startswith("Version   team/reply would get one more (there team/reply/2)\n")
    done = command("pull", "team/reply@production", "--langfuse", server.address, "--actor", "bob")
    assert done.stdout == (
        "Version   team/reply@1 (there team/reply/2) added\n"
        "Note      there it is production; aliases here move by promote alone\n"
    )
    with Library(place / "library") as library:
        version = library.get("team/reply@1")
    assert (version.author, version.content.text) == ("bob", "Reply to {{question}}.")
    again = command("pull", "team/reply/2", "--langfuse", server.address)
    assert again.stdout.startswith("Version   team/reply@1 (there team/reply/2) is here already\n")


def test_all_versions_come_in_order(command: Command, server: JsonServer) -> None:
    done = command("pull", "team/reply", "--langfuse", server.address, "--all", "--name", "mine", "--json")
    described = json.loads(done.stdout)
    assert [(each["reference"], each["origin"]["reference"]) for each in described] == [
        ("mine@1", "team/reply/1"),
        ("mine@2", "team/reply/2"),
    ]
    assert described[0]["tags"] == ["area:shop"]


def test_jinja_and_other_mistakes_are_told(
    command: Command, server: JsonServer, there: RecordedLangfuse
) -> None:
    there.add({"name": "loop", "prompt": "{% if x %}{{y}}{% endif %}"})
    refused = command("pull", "loop", "--langfuse", server.address)
    assert "more than a name between braces: such templates (Jinja) are not run here" in refused.stderr
    taken = command("pull", "loop", "--langfuse", server.address, "--as-text")
    assert "Note      2 expressions between braces are plain text here" in taken.stdout
    assert "name a PROMPT of MLflow or Langfuse" in command("pull", "--langfuse", server.address).stderr
    assert "name a PROMPT of MLflow" in command("pull", "x", "--hub", "ann/prompt").stderr
    assert "name one place" in command("pull", "x").stderr
