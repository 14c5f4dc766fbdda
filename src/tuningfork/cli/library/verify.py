"""`tuningfork library verify`."""

from typing import TYPE_CHECKING, Annotated

import typer

from tuningfork.cli.library.options import (
    ActorOption,
    ArtifactsOption,
    LibraryOption,
    actor_name,
    opened,
)
from tuningfork.cli.options import JsonOption
from tuningfork.errors import LibraryError

if TYPE_CHECKING:
    from tuningfork.library.artifacts import ArtifactStore


def verify(
    expect: Annotated[
        str | None,
        typer.Option("--expect", metavar="HEAD", help="Head that an earlier verify printed."),
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what needs no guess; each repair becomes an event.")
    ] = False,
    source: Annotated[
        str | None,
        typer.Option("--from", help="Folder or URL of a copy of the files, to mend damaged ones from."),
    ] = None,
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    actor: ActorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check the chain of events, every row against it, and every file against its hash."""
    if source is not None and not repair:
        raise LibraryError("--from is where --repair takes files from; give both")
    from rich.console import Console

    from tuningfork.cli.library.care_tables import print_verification
    from tuningfork.cli.progress import ProgressSink
    from tuningfork.library import verification

    copy = None if source is None else _copy(source)
    console = Console(stderr=as_json)
    with opened(library, artifacts) as found, ProgressSink(console) as sink:
        repairs = []
        if repair:
            repairs = verification.repair(found, actor=actor_name(actor), source=copy, sink=sink)
        result = verification.verify(found, expected_head=expect, sink=sink)
    print_verification(result, repairs, as_json=as_json)
    if not result.passed:
        raise typer.Exit(1)


def _copy(place: str) -> "ArtifactStore":
    from pathlib import Path

    from tuningfork.library.artifacts import open_artifacts

    if "://" not in place and not Path(place).is_dir():
        raise LibraryError(f"{place}: there is no folder of artifacts to take files from")
    return open_artifacts(place)
