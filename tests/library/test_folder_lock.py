import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.commands import listing
from tuningfork.errors import RunError
from tuningfork.library.folder_lock import held, is_held

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no such lock on Windows")

HOLD = """
import sys, time
from pathlib import Path
from tuningfork.library.folder_lock import held
with held(Path(sys.argv[1])):
    print("in", flush=True)
    time.sleep(60)
"""


def test_a_second_one_is_kept_out_and_told(tmp_path: Path) -> None:
    assert not is_held(tmp_path)
    with held(tmp_path):
        assert is_held(tmp_path)
        with (
            pytest.raises(RunError, match="another process is at work on it; wait until that ends"),
            held(tmp_path),
        ):
            pass
        assert is_held(tmp_path)
    assert not is_held(tmp_path)
    with held(tmp_path):
        assert listing(tmp_path) == []


def test_an_error_inside_lets_go(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="boom"), held(tmp_path):
        raise ValueError("boom")
    assert not is_held(tmp_path)


def test_a_process_that_is_killed_lets_go(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"in\n"
        assert is_held(tmp_path)
        process.kill()
        process.wait()
    for _ in range(50):
        if not is_held(tmp_path):
            break
        time.sleep(0.02)
    assert not is_held(tmp_path)


def test_a_file_system_without_locks_keeps_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(*_: object) -> None:
        raise OSError("not supported")

    monkeypatch.setattr("fcntl.flock", cannot)
    with held(tmp_path), held(tmp_path):
        assert not is_held(tmp_path)
