import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.library.conftest import Command
from tests.commands import Completed, invoke
from tests.library.exchange.bundles import NAME, add_evidence, register
from tuningfork.library.store import Library

Import = Callable[..., Completed]


@pytest.fixture
def target(command: Command, place: Path, tmp_path: Path) -> Import:
    """Imports the bundle of a version with evidence into a library of its own."""
    with Library(place / "library") as library:
        add_evidence(library, register(library, name="queue"))
    command("keygen", "k", "--name", "Shop")
    command("export", "queue@1", "--bundle", "b.tfb", "--key", "k")

    def called(*arguments: str) -> Completed:
        return invoke(tmp_path, "library", "import", "--bundle", "b.tfb", "--library", "other", *arguments)

    return called


def test_a_bundle_of_whoever_is_trusted_comes_in_once(target: Import, place: Path) -> None:
    key = (place / "k.pub").read_text().split()[0]
    refused = target()
    assert refused.code == 1
    assert f"which is not trusted here; if you know that it is theirs: --trust {key}" in refused.stderr
    done = target("--trust", "k.pub", "--actor", "carl")
    first, second, third = done.stdout.splitlines()
    assert first.startswith("Bundle    b.tfb from library ")
    assert first.endswith(f", signed by Shop, {key}")
    assert second == "Version   queue@1 (there queue@1) added, 1 files of evidence"
    assert third.startswith("Note      evidence counts once its rows are frozen here")
    assert "is here already" in target("--trust", key).stdout
    with Library(place / "other") as library:
        assert [version.author for version in library.versions("queue")] == ["carl"]


def test_a_dry_run_and_another_name(target: Import, place: Path) -> None:
    with Library(place / "other") as library:
        register(library, name=NAME)
    tried = target("--trust", "k.pub", "--name", NAME, "--dry-run")
    assert f"Version   {NAME}@2 (there queue@1) would be added" in tried.stdout
    with Library(place / "other") as library:
        assert len(library.versions(NAME)) == 1
    described = json.loads(target("--trust", "k.pub", "--name", NAME, "--json").stdout)
    assert described["versions"] == [
        {"reference": f"{NAME}@2", "origin": "queue@1", "is_new": True, "num_evidence": 1}
    ]
    assert described["signer"] == "Shop"
    assert described["dry_run"] is False


def test_a_bundle_that_was_changed_or_is_unsigned_does_not_come_in(
    target: Import, command: Command, place: Path
) -> None:
    whole = (place / "b.tfb").read_bytes()
    (place / "b.tfb").write_bytes(whole.replace(b"Say which.", b"Say WHICH."))
    refused = target("--trust", "k.pub", "--allow-unsigned")
    assert refused.code == 1
    assert "manifest.json was changed or damaged" in refused.stderr
    command("export", "queue@1", "--bundle", "b.tfb", "--unsigned")
    assert "nobody signed this bundle" in target().stderr
    assert ", signed by nobody" in target("--allow-unsigned").stdout
