"""`tuningfork library gc`."""

from typing import Annotated

import typer

from tuningfork.cli.library.options import (
    ActorOption,
    ArtifactsOption,
    LibraryOption,
    actor_name,
    opened,
)
from tuningfork.cli.options import JsonOption


def collect_garbage(
    grace: Annotated[
        float,
        typer.Option("--grace-minutes", help="Leave what is younger: somebody may be registering it.", min=0),
    ] = 60.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    actor: ActorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove files that nothing in the library names, as interrupted registrations leave them."""
    from rich.console import Console

    from tuningfork.cli.library.care_tables import print_collected
    from tuningfork.cli.progress import ProgressSink
    from tuningfork.library.collection import collect

    console = Console(stderr=as_json)
    with opened(library, artifacts) as found, ProgressSink(console) as sink:
        result = collect(found, actor=actor_name(actor), grace_seconds=grace * 60, dry_run=dry_run, sink=sink)
    print_collected(result, is_dry_run=dry_run, as_json=as_json)
