from pathlib import Path

import pytest

from tests.cli.library.conftest import Command
from tuningfork.cli.library import options
from tuningfork.library import sign_in
from tuningfork.library.actors import Actor
from tuningfork.library.store import Library


def test_who_acts_is_named_or_signed_in_or_the_user(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_in, "system_user", lambda: "os-user")
    with Library(place / "library") as library:
        view = library.acting(Actor("ann"))
        assert options.actor_name(" bob ", library) == options.actor_name("bob", view) == "bob"
        assert options.actor_name(None, library) == options.actor_name("", library) == "os-user"
        assert options.actor_name(None, view) == options.actor_name(" ", view) == "ann"


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
