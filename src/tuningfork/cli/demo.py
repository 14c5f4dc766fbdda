"""`tuningfork demo`."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    runs: Annotated[Path, typer.Option("--runs", help="Folder that holds the runs.")] = Path("runs"),
) -> None:
    """Tune two of the shipped examples on the bundled model and show what changed; a few minutes."""
    from tuningfork.cli.demonstration import demonstrate

    demonstrate(runs)
