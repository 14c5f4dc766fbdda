import os
import subprocess
import sys
from pathlib import Path

import pytest

import tuningfork
from tests.commands import invoke

COMMANDS = (
    "init",
    "tune",
    "compare",
    "run",
    "predict",
    "show",
    "similar",
    "compose",
    "export",
    "import",
    "demo",
    "doctor",
    "library",
)
HEAVY_PACKAGES = {
    "torch", "transformers", "numpy", "scipy", "sklearn", "pyarrow", "pydantic", "sacrebleu", "sqlalchemy",
}  # fmt: skip
_PRINT_MODULES = """
import atexit, sys
atexit.register(lambda: print(*sys.modules, file=sys.stderr))
from tuningfork.cli.main import main
main()
"""


def test_help_lists_every_command(tmp_path: Path) -> None:
    completed = invoke(tmp_path, "--help")
    assert completed.code == 0
    listed = [
        line.split()[1] for line in completed.stdout.splitlines() if line.startswith("│ ") and line[2] != " "
    ]
    assert [name for name in listed if name in COMMANDS] == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_within_80_columns(command: str, tmp_path: Path) -> None:
    completed = invoke(tmp_path, command, "--help")
    assert completed.code == 0
    assert f" {command} [OPTIONS]" in completed.stdout
    assert max(map(len, completed.stdout.splitlines())) <= 80


def test_help_loads_no_heavy_package() -> None:
    completed = subprocess.run(
        [sys.executable, "-c", _PRINT_MODULES, "--help"],
        capture_output=True, text=True, check=False, env=dict(os.environ),
    )  # fmt: skip
    assert completed.returncode == 0
    assert "tuningfork.cli.tune" in completed.stderr.split()
    assert HEAVY_PACKAGES.isdisjoint(completed.stderr.split())


def test_wrong_data_is_told_before_a_model_library_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("message,queue\na,b\nc,d,e\n", encoding="utf-8")
    completed = subprocess.run(
        [sys.executable, "-c", _PRINT_MODULES, "tune", "bad.csv"],
        cwd=tmp_path, capture_output=True, text=True, check=False, env=dict(os.environ),
    )  # fmt: skip
    assert completed.returncode == 1
    assert completed.stderr.startswith("Error: bad.csv line 3: 3 columns")
    assert {"torch", "transformers"}.isdisjoint(completed.stderr.split())


def test_an_interrupt_before_a_run_began_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tickets.csv").write_text("message,queue\na,b\n", encoding="utf-8")

    def stop(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tuningfork.recipes.task_file.find_task", stop)
    completed = invoke(tmp_path, "tune", "tickets.csv")
    assert (completed.code, completed.stderr) == (130, "Interrupted\n")


def test_version(tmp_path: Path) -> None:
    assert invoke(tmp_path, "--version").stdout == f"tuningfork {tuningfork.__version__}\n"


def test_errors_of_our_own_are_one_line_and_exit_code_1(tmp_path: Path) -> None:
    completed = invoke(tmp_path, "run", "runs/x-1", "hello")
    assert completed.code == 1
    assert completed.stdout == ""
    assert completed.stderr == (
        "Error: runs/x-1: no run here (no run.json); make one with: tuningfork tune; and there is no library "
        "at library that could hold a prompt of this name\n"
    )


def test_unknown_command_is_a_usage_error(tmp_path: Path) -> None:
    completed = invoke(tmp_path, "tone")
    assert completed.code == 2
    assert "No such command 'tone'" in completed.stderr


def test_a_reader_that_goes_away_is_no_crash(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    completed = subprocess.run(
        [sys.executable, "-m", "tuningfork", "doctor", "--help"],
        stdout=writing, stderr=subprocess.PIPE, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    os.close(writing)
    assert completed.stderr == ""
