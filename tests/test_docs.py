"""The documentation tells the truth: its Python runs, and its commands and options exist.

The `python` blocks of a page run in order as one program, in an empty folder and without network. A block
that cannot run says why after its language: `python skip: downloads a model`.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

from tuningfork.cli.main import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

FENCE = re.compile(
    r"^(?P<fence>`{3,})(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=fence) *$", re.MULTILINE | re.DOTALL
)
INLINE_COMMAND = re.compile(r"`(tuningfork [^`\n]+)`")
SHELLS = {"bash", "console", "sh", "shell"}
END_OF_COMMAND = {"|", ">", ">>", "<", "&&", "||", ";", "&"}


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, what follows the language, the line of its first line, and its text."""

    language: str
    remark: str
    line: int
    text: str


def blocks(markdown: str) -> Iterator[Block]:
    for match in FENCE.finditer(markdown):
        language, _, remark = match["info"].strip().partition(" ")
        yield Block(language, remark.strip(), markdown.count("\n", 0, match.start("body")) + 1, match["body"])


def python_program(markdown: str) -> str:
    """The runnable Python blocks of a page, each on the lines it has in the page."""
    lines: list[str] = []
    for block in blocks(markdown):
        if block.language == "python" and not block.remark.startswith("skip:"):
            lines += [""] * (block.line - 1 - len(lines)) + block.text.splitlines()
    return "\n".join(lines) + "\n" if lines else ""


def commands(markdown: str) -> Iterator[list[str]]:
    """The words of every `tuningfork ...` command on a page, up to a pipe or the end."""
    for block in blocks(markdown):
        starts = ("$ tuningfork ", "tuningfork ") if block.language in SHELLS else ("$ tuningfork ",)
        for line in block.text.replace("\\\n", " ").splitlines():
            if line.startswith(starts):
                yield words(line.removeprefix("$ "))
    for match in INLINE_COMMAND.finditer(FENCE.sub("", markdown)):
        yield words(match[1])


def words(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found = list(lexer)
    end = next((index for index, word in enumerate(found) if word in END_OF_COMMAND), len(found))
    return found[1:end]


def mistake(command: Any, given: list[str]) -> str | None:
    """What is wrong with the words after `tuningfork`, or None; `command` is the click command of the app."""
    path = "tuningfork"
    rest = list(given)
    while rest and hasattr(command, "commands") and not rest[0].startswith("-"):
        name = rest.pop(0)
        if name not in command.commands:
            return f"`{path}` has no command {name!r}, only {', '.join(sorted(command.commands))}"
        command, path = command.commands[name], f"{path} {name}"
    known = {"--help", "-h"}.union(*(set(p.opts) | set(p.secondary_opts) for p in command.params))
    options = [word.partition("=")[0] for word in rest if re.match(r"-{1,2}[a-zA-Z]", word)]
    unknown = [option for option in options if option not in known]
    return f"`{path}` has no option {', '.join(unknown)}" if unknown else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_run(page: Path, tmp_path: Path) -> None:
    program = tmp_path / page.with_suffix(".py").name
    program.write_text(python_program(page.read_text(encoding="utf-8")), encoding="utf-8")
    folder = tmp_path / "empty"
    folder.mkdir()
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HOME": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, str(program)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert result.returncode == 0, f"{page.name} (lines as in the page):\n{result.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_exist(page: Path) -> None:
    command_line = typer.main.get_command(app)
    mistakes = [mistake(command_line, given) for given in commands(page.read_text(encoding="utf-8"))]
    assert [m for m in mistakes if m] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_skipped_blocks_say_why(page: Path) -> None:
    remarks = [
        b.remark for b in blocks(page.read_text(encoding="utf-8")) if b.language == "python" and b.remark
    ]
    assert [r for r in remarks if not re.fullmatch(r"skip: \S.+", r)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", FENCE.sub("", page.read_text(encoding="utf-8")))
    assert [target for target in targets if not (page.parent / target).exists()] == []


PAGE = """# Title
Use `tuningfork tune --seed 3`.
```python
x = 1
```
```python skip: needs a GPU
raise SystemExit
```
```console
$ tuningfork run "it's fine" \\
    --model=bundled | head
printed output
```
```python
assert x == 1
```
"""


def test_a_program_keeps_the_lines_of_its_page() -> None:
    program = python_program(PAGE).splitlines()
    assert (program[3], program[14]) == ("x = 1", "assert x == 1")
    assert "raise SystemExit" not in program


def test_commands_are_found_in_text_and_in_shell_blocks() -> None:
    assert list(commands(PAGE)) == [["run", "it's fine", "--model=bundled"], ["tune", "--seed", "3"]]


def tune(data: str, seed: int = 0) -> None: ...


def test_a_wrong_command_and_a_wrong_option_are_found() -> None:
    sample = typer.Typer()
    sample.callback()(lambda: None)
    sample.command()(tune)
    command = typer.main.get_command(sample)
    assert mistake(command, ["tune", "rows.csv", "--seed=3"]) is None
    assert mistake(command, ["tune", "rows.csv", "--sead", "3"]) == "`tuningfork tune` has no option --sead"
    assert mistake(command, ["tone"]) == "`tuningfork` has no command 'tone', only tune"
