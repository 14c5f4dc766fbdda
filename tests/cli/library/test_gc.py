import json
import os
import time
from pathlib import Path

from tests.cli.library.conftest import Command
from tuningfork.library.store import Library


def test_garbage_is_named_then_removed(command: Command, place: Path) -> None:
    with Library(place / "library") as library:
        sha256 = library.artifacts.put(b"garbage")
    path = place / "library" / "artifacts" / sha256[:2] / sha256
    assert "Removed 0 files" in command("gc").stdout
    old = time.time() - 3000
    os.utime(path, (old, old))
    completed = command("gc", "--dry-run", "--grace-minutes", "45")
    assert completed.code == 0, completed.stderr
    assert completed.stdout.splitlines() == [
        f"Garbage   {sha256}",
        "Would remove 1 files that nothing names (7 B) and 0 unfinished ones",
    ]
    assert path.exists()
    found = json.loads(command("gc", "--grace-minutes", "45", "--json", "--actor", "ann").stdout)
    assert found == {"artifacts": [sha256], "num_bytes": 7, "unfinished": 0, "dry_run": False}
    assert not path.exists()
    assert command("verify").code == 0
