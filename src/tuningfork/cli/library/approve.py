"""`tuningfork library approve` and `tuningfork library withdraw`."""

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

VersionArgument = Annotated[str, typer.Argument(metavar="NAME@VERSION", help="The version.")]
ApprovedAliasOption = Annotated[str, typer.Option("--alias", help="The alias that it may become.")]
NoteOption = Annotated[str, typer.Option("--note", help="What you looked at; it stays in the history.")]


def approve(
    version: VersionArgument,
    alias: ApprovedAliasOption = "production",
    note: NoteOption = "",
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    actor: ActorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say yes to somebody else's version under an alias."""
    with opened(library, artifacts) as store:
        who = actor_name(actor, store)
        reference = store.get(version).reference
        made = store.approve(reference, alias, who, note)
    if as_json:
        typer.echo(made.model_dump_json())
        return
    typer.echo(f"Approved  {reference} for {alias}, by {made.approver} at {made.time[:16].replace('T', ' ')}")


def withdraw(
    version: VersionArgument,
    alias: ApprovedAliasOption = "production",
    note: NoteOption = "",
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    actor: ActorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take back your approval of a version."""
    with opened(library, artifacts) as store:
        who = actor_name(actor, store)
        reference = store.get(version).reference
        made = store.withdraw(reference, alias, who, note)
    if as_json:
        typer.echo(made.model_dump_json())
        return
    typer.echo(f"Withdrawn {reference} for {alias}, by {made.approver}")
