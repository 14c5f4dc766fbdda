from pathlib import Path

import pytest

from tests.cli.library.conftest import Command
from tuningfork.cli.library import options
from tuningfork.library import sign_in
from tuningfork.library.actors import Actor
from tuningfork.library.store import Library


def test_who_acts_is_named_or_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_in, "system_user", lambda: "os-user")
    assert options.actor_name(" ann ") == "ann"
    assert options.actor_name(None) == options.actor_name("") == "os-user"


def test_who_signed_in_acts_whoever_the_user_is(place: Path) -> None:
    with Library(place / "library") as library:
        assert options.actor_name(None, library.acting(Actor("ann"))) == "ann"
        assert options.actor_name(None, library) == sign_in.system_user()


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
