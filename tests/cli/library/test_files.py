import json
from pathlib import Path

from tests.cli.library.conftest import Command
from tests.commands import listing


def test_files_of_a_version_are_written_to_a_new_folder(command: Command, place: Path) -> None:
    written = command("check-out", "shop/tickets@2", "out")
    assert written.stdout == "Wrote     shop/tickets@2 to out: 1 files\n"
    assert (place / "out" / "prompt.safetensors").read_bytes() == b"better"
    assert "out: exists already" in command("check-out", "shop/tickets@1", "out").stderr
    described = json.loads(command("check-out", "words@latest", "deep/er", "--json").stdout)
    assert described == {"path": "deep/er", "reference": "words@1"}
    assert listing(place / "deep") == ["er", "er/prompt.safetensors"]
