"""The real command, run in this process."""

import json
import os
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tuningfork.cli.main import app, main

# As few steps as still change the prompt.
QUICK = ("--max-steps", "4", "--lr", "0.1", "--method", "prompt_tuning", "--seeds", "1", "--refit", "no")


@dataclass(frozen=True)
class Completed:
    """What a command left behind."""

    code: int
    stdout: str
    stderr: str


def invoke(cwd: Path, *arguments: str | Path, stdin: str = "", columns: int = 80) -> Completed:
    """Run `tuningfork` in `cwd` as a shell would, errors included."""
    stdout, stderr = StringIO(), StringIO()
    given = TextIOWrapper(BytesIO(stdin.encode()), encoding="utf-8")
    with (
        chdir(cwd),
        patch.dict(os.environ, COLUMNS=str(columns)),
        patch.object(sys, "argv", ["tuningfork", *map(str, arguments)]),
        patch.object(sys, "stdin", given),
        redirect_stdout(stdout),
        redirect_stderr(stderr),
    ):
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
    return Completed(code, stdout.getvalue(), stderr.getvalue())


def call(cwd: Path, *arguments: str | Path) -> str:
    """Run `tuningfork` in `cwd`, let its errors through, and return what it printed."""
    stdout = StringIO()
    with chdir(cwd), patch.dict(os.environ, COLUMNS="80"), redirect_stdout(stdout):
        app([str(argument) for argument in arguments], standalone_mode=False)
    return stdout.getvalue()


def tune(cwd: Path, model: Path, source: str | Path, *options: str | Path) -> Path:
    """Tune on `source` quickly and return the run folder."""
    completed = invoke(cwd, "tune", source, "--model", model, "--json", *QUICK, *options)
    assert completed.code == 0, completed.stderr
    path: str = json.loads(completed.stdout)["path"]
    return cwd / path


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def listing(folder: Path) -> list[str]:
    """Everything below `folder`."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
