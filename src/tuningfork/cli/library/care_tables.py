"""How a verification, repairs and collected garbage look on a terminal, or as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.text import Text

from tuningfork.cli.tables import size
from tuningfork.library.collection import Collected
from tuningfork.library.verification import Repair, Verification

_MOST_SHOWN = 50


def print_verification(found: Verification, repairs: Sequence[Repair], *, as_json: bool) -> None:
    """Print what was looked at, mended, and is wrong."""
    if as_json:
        described = asdict(found) | {"passed": found.passed, "repairs": [asdict(made) for made in repairs]}
        print(json.dumps(described))
        return
    console = Console()
    for made in repairs:
        _say(console, f"Repaired  {made.kind} {made.where}: {made.what}")
    _say(
        console,
        f"Verified  {found.num_events:,} events, {found.num_versions:,} versions, "
        f"{found.num_artifacts:,} files ({size(found.num_bytes)})",
    )
    for problem in found.problems[:_MOST_SHOWN]:
        _say(console, f"Problem   {problem.kind} {problem.where}: {problem.what}", style="bold red")
    if (left := len(found.problems) - _MOST_SHOWN) > 0:
        _say(console, f"          and {left:,} more: --json lists them all")
    if found.passed:
        _say(console, f"All well. Head {found.head}")
        _say(console, "Keep it elsewhere: verify --expect HEAD finds out if the end is ever cut off.")
        return
    mendable = sum(problem.can_be_repaired for problem in found.problems)
    _say(console, f"Found {len(found.problems):,}; --repair may mend {mendable:,}, files only --from a copy")


def print_collected(found: Collected, *, is_dry_run: bool, as_json: bool) -> None:
    """Print what was removed, or would be."""
    if as_json:
        print(json.dumps(asdict(found) | {"dry_run": is_dry_run}))
        return
    console = Console()
    for sha256 in found.artifacts[:_MOST_SHOWN]:
        _say(console, f"Garbage   {sha256}")
    if (left := len(found.artifacts) - _MOST_SHOWN) > 0:
        _say(console, f"          and {left:,} more: --json lists them all")
    done = "Would remove" if is_dry_run else "Removed"
    _say(
        console,
        f"{done} {len(found.artifacts):,} files that nothing names ({size(found.num_bytes)}) and "
        f"{found.unfinished:,} unfinished ones",
    )


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(Text(text, style=style), soft_wrap=True)
