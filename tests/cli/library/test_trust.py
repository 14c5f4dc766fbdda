import json
from pathlib import Path

from tests.cli.library.conftest import Command


def test_keys_are_trusted_listed_and_no_longer_trusted(command: Command, place: Path) -> None:
    command("keygen", "k", "--name", "Shop team")
    key = (place / "k.pub").read_text().split()[0]
    assert command("trust").stdout.startswith("No key is trusted")
    assert command("trust", "k.pub").stdout == f"{key}  Shop team\n"
    assert command("trust", key, "--name", "Ann").stdout == f"{key}  Ann\n"
    assert json.loads(command("trust", "--json").stdout) == [{"name": "Ann", "key": key}]
    assert command("trust", key, "--remove").stdout.startswith("No key is trusted")
    assert "is not trusted here" in command("trust", key, "--remove").stderr


def test_what_is_no_key_or_has_no_name_is_told(command: Command, place: Path) -> None:
    command("keygen", "k")
    assert "whose key is it? Give it a name: --name NAME" in command("trust", "k.pub").stderr
    assert "nothing.pub: neither a public key" in command("trust", "nothing.pub").stderr
    secret = command("trust", "k", "--name", "x").stderr
    assert "no public key: expected ed25519:" in secret
    assert not any(line in secret for line in (place / "k").read_text().splitlines())
    assert "are for a KEY, and none was given" in command("trust", "--remove").stderr
