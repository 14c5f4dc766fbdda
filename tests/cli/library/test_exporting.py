import json
import zipfile
from pathlib import Path

from tests.cli.library.conftest import Command


def test_versions_go_into_one_signed_file(command: Command, place: Path) -> None:
    command("keygen", "k")
    key = (place / "k.pub").read_text().strip()
    done = command("export", "shop/tickets@1", "words@1", "--bundle", "b.tfb", "--key", "k", "--actor", "ann")
    assert done.stdout == (f"Wrote     b.tfb: shop/tickets@1, words@1, 1 files\nSigned    by ann, {key}\n")
    with zipfile.ZipFile(place / "b.tfb") as archive:
        assert archive.namelist()[:2] == ["manifest.json", "signature"]
    described = json.loads(
        command("export", "words@1", "--bundle", "c.tfb", "--key", "k", "--signer", "Shop", "--json").stdout
    )
    assert described["versions"] == ["words@1"]
    assert described["signer"] == {"name": "Shop", "key": key}


def test_a_bundle_is_signed_or_it_is_said_that_it_is_not(command: Command, place: Path) -> None:
    for arguments in ((), ("--key", "k", "--unsigned")):
        refused = command("export", "words@1", "--bundle", "b.tfb", *arguments)
        assert "sign the bundle with --key FILE" in refused.stderr
    done = command("export", "words@1", "--bundle", "b.tfb", "--unsigned")
    assert done.stdout.endswith("Unsigned  whoever gets it cannot tell who made it\n")
    assert "k: the key cannot be read" in command("export", "words@1", "--bundle", "c", "--key", "k").stderr
    assert not (place / "c").exists()
