import json
import stat
from pathlib import Path

from tests.cli.library.conftest import Command


def test_a_key_is_made_once_and_its_secret_is_not_printed(command: Command, place: Path) -> None:
    made = command("keygen", "shop.key", "--name", "Shop team")
    public = (place / "shop.key.pub").read_text()
    assert made.stdout == (
        "Wrote     shop.key: keep it secret, and a copy in a safe place\n"
        f"Wrote     shop.key.pub: {public.split()[0]}\n"
        "Others    tuningfork library trust shop.key.pub\n"
    )
    assert public.endswith(" Shop team\n")
    assert stat.S_IMODE((place / "shop.key").stat().st_mode) == 0o600
    before = (place / "shop.key").read_bytes()
    assert "shop.key: exists already" in command("keygen", "shop.key").stderr
    assert (place / "shop.key").read_bytes() == before


def test_as_json(command: Command, place: Path) -> None:
    described = json.loads(command("keygen", "k", "--json").stdout)
    assert described == {
        "path": "k", "public": "k.pub", "key": (place / "k.pub").read_text().strip(), "name": "",
    }  # fmt: skip
