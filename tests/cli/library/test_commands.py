from pathlib import Path

import pytest

from tests.commands import invoke
from tuningfork.cli.library.commands import COMMANDS


def test_help_lists_every_command_in_order(tmp_path: Path) -> None:
    printed = invoke(tmp_path, "library", "--help").stdout
    listed = [line.split()[1] for line in printed.splitlines() if line.startswith("│ ") and line[2] != " "]
    assert [name for name in listed if name in COMMANDS] == list(COMMANDS)


GROUPED = (
    *("user add", "user list", "user role", "user disable", "user enable"),
    *("key create", "key list", "key revoke"),
)


@pytest.mark.parametrize("command", [*COMMANDS, *GROUPED])
def test_every_command_has_help_within_80_columns(command: str, tmp_path: Path) -> None:
    completed = invoke(tmp_path, "library", *command.split(), "--help")
    assert completed.code == 0
    assert f"library {command} [OPTIONS]" in completed.stdout
    assert ("--library" in completed.stdout) == (command != "keygen")
    assert max(map(len, completed.stdout.splitlines())) <= 80


@pytest.mark.parametrize("arguments", [("list",), ("show", "x"), ("history", "x"), ("tag", "x", "y"),
                                       ("promote", "x@1"), ("check-out", "x@1", "out")])  # fmt: skip
def test_no_command_but_register_makes_a_library(arguments: tuple[str, ...], tmp_path: Path) -> None:
    completed = invoke(tmp_path, "library", *arguments)
    assert completed.code == 1
    assert "library: there is no library here; name one with --library" in completed.stderr
    assert list(tmp_path.iterdir()) == []
