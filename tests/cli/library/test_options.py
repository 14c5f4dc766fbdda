from pathlib import Path

import pytest

from tests.cli.library.conftest import Command
from tuningfork.cli.library import options
from tuningfork.errors import LibraryError


def test_who_acts_is_named_or_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "getuser", lambda: "os-user")
    assert options.actor_name(" ann ") == "ann"
    assert options.actor_name(None) == options.actor_name("") == "os-user"

    def nobody() -> str:
        raise KeyError("uid 1234")

    monkeypatch.setattr(options, "getuser", nobody)
    with pytest.raises(LibraryError, match="name yourself: --actor NAME"):
        options.actor_name(None)


def test_library_and_artifacts_are_where_options_or_the_environment_say(
    command: Command, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = command("list").stdout
    (place / "library").rename(place / "moved")
    assert command("list").code == 1
    assert command("list", "--library", "moved").stdout == expected
    monkeypatch.setenv("TUNINGFORK_LIBRARY", "moved")
    assert command("list").stdout == expected
    (place / "moved" / "artifacts").rename(place / "bytes")
    assert command("check-out", "words@1", "lost").code == 1
    assert command("check-out", "words@1", "found", "--artifacts", "bytes").code == 0
