"""What `tuningfork lint` does and prints."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import typer
from rich.console import Console

from tuningfork.cli.progress import ProgressSink
from tuningfork.recipes.lint import lint_file
from tuningfork.tasks.lint.rule import Finding

_STYLES = {"error": "red", "warning": "yellow"}


def lint_and_print(path: Path, *, model: str | None, reads_data: bool, as_json: bool) -> bool:
    """Look at the task at `path` and print what was found; return whether there are errors."""
    with ProgressSink(Console(stderr=True)) as sink:
        findings = lint_file(path, sink, model=model, reads_data=reads_data)
    return print_findings(path, findings, as_json=as_json)


def print_findings(path: Path, findings: Sequence[Finding], *, as_json: bool) -> bool:
    """Print what was found in the task at `path`; return whether there are errors."""
    errors = sum(finding.severity == "error" for finding in findings)
    warnings = len(findings) - errors
    if as_json:
        found = [asdict(finding) for finding in findings]
        typer.echo(
            json.dumps(
                {"task": str(path), "errors": errors, "warnings": warnings, "findings": found},
                ensure_ascii=False,
                indent=2,
            )
        )
        return errors > 0
    for finding in findings:
        typer.secho(f"{finding.severity:<8}", fg=_STYLES[finding.severity], nl=False)
        typer.echo(_printable(f"{finding.place}: {finding.message} ({finding.rule})"))
    typer.echo(f"{path}: {_counted(errors, 'error')}, {_counted(warnings, 'warning')}")
    return errors > 0


def _counted(count: int, noun: str) -> str:
    return f"{count or 'no'} {noun}{'' if count == 1 else 's'}"


def _printable(text: str) -> str:
    """`text` without characters that a terminal would obey."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
