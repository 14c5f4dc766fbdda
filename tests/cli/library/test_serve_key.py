import json
from pathlib import Path

import pytest

from tests.cli.library.conftest import Command
from tuningfork.library.sign_in import system_user


def test_a_key_to_serve_reads_production_and_nothing_else(
    command: Command, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("promote", "shop/tickets@1")
    command("user", "add", system_user(), "--role", "admin")
    command("user", "add", "server", "--role", "viewer")
    made = command("serve-key", "shop/*", "words@beta", "--user", "server", "--json")
    described = json.loads(made.stdout)
    assert described["scopes"] == ["read:shop/*@production", "read:words@beta"]
    assert (described["person"], described["name"]) == ("server", "serving")
    assert described["expires"] is not None
    monkeypatch.setenv("TUNINGFORK_KEY", described["key"])
    assert command("check-out", "shop/tickets", "out").code == 0
    assert (place / "out" / "prompt.safetensors").read_bytes() == b"tensors"
    for arguments in (
        ("show", "shop/tickets@latest"),
        ("show", "shop/tickets@2"),
        ("show", "shop/tickets"),
        ("show", "words@1"),
        ("tag", "shop/tickets", "new"),
        ("promote", "shop/tickets@production", "--alias", "beta"),
        ("user", "list"),
        ("key", "create", "more", "--scope", "*:*"),
    ):
        refused = command(*arguments)
        assert (refused.code, refused.stdout) == (1, "")
        assert f"with the key {described['prefix']}: it is for read:shop/*@production" in refused.stderr
