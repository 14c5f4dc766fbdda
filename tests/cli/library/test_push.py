import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.library.conftest import Command
from tests.json_server import JsonServer, serving_json
from tests.library.exchange.langfuse_server import PUBLIC, SECRET, RecordedLangfuse
from tests.library.exchange.mlflow_server import RecordedMlflow
from tests.library.exchange.words import text_version
from tuningfork.library.store import Library


@pytest.fixture
def words(place: Path) -> Iterator[str]:
    """A text prompt in the library."""
    with Library(place / "library") as library:
        made = text_version()
        library.register("shop/reply", made.content, {}, made.lineage, author="ann", note="shorter")
        yield library.versions("shop/reply")[0].reference


@pytest.fixture
def mlflow() -> Iterator[JsonServer]:
    with serving_json(RecordedMlflow()) as server:
        yield server


def test_words_go_to_mlflow_once(command: Command, words: str, mlflow: JsonServer) -> None:
    tried = command("push", words, "--mlflow", mlflow.address, "--dry-run")
    assert tried.stdout == "Push      shop/reply@1 would become shop.reply/1\n"
    done = command("push", words, "--mlflow", mlflow.address, "--alias", "production")
    assert done.stdout == "Push      shop/reply@1 is now shop.reply/1\n"
    again = command("push", words, "--mlflow", mlflow.address)
    assert again.stdout == "Push      shop/reply@1 is there already: shop.reply/1\n"
    named = command("push", words, "--mlflow", mlflow.address, "--as", "other", "--json")
    assert json.loads(named.stdout) == {
        "version": "shop/reply@1", "reference": "other/1", "is_new": True, "dry_run": False,
    }  # fmt: skip


def test_words_go_to_langfuse_under_their_own_name(
    command: Command, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = RecordedLangfuse()
    with serving_json(there) as server:
        refused = command("push", words, "--langfuse", server.address)
        assert "LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY; set both" in refused.stderr
        monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", PUBLIC)
        monkeypatch.setenv("LANGFUSE_SECRET_KEY", SECRET)
        there.add({"name": "shop/reply", "prompt": "Theirs"})
        refused = command("push", words, "--langfuse", server.address)
        assert refused.code == 1
        assert "shop/reply/1: somebody else made this newest version" in refused.stderr
        done = command("push", words, "--langfuse", server.address, "--force")
        assert done.stdout == "Push      shop/reply@1 is now shop/reply/2\n"


def test_what_does_not_go_is_told(command: Command, words: str, mlflow: JsonServer) -> None:
    assert "name one place, by one of --mlflow, --langfuse, --hub" in command("push", words).stderr
    soft = command("push", "shop/tickets@1", "--mlflow", mlflow.address)
    assert "MLflow holds words, and this version is soft; use a bundle" in soft.stderr
    plain = command("push", words, "--mlflow", "http://example.com")
    assert plain.code == 1
    assert mlflow.asked == []
