"""`tuningfork library revoke`."""

from typing import Annotated

import typer

from tuningfork.cli.library.options import (
    ActorOption,
    ArtifactsOption,
    LibraryOption,
    ReasonOption,
    actor_name,
    opened,
)


def revoke(
    version: Annotated[str, typer.Argument(metavar="NAME@VERSION", help="A version that no alias names.")],
    reason: ReasonOption = "",
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    actor: ActorOption = None,
) -> None:
    """Take a version out of use for good."""
    with opened(library, artifacts) as found:
        who = actor_name(actor, found)
        made = found.revoke(version, actor=who, reason=reason)
    typer.echo(f"Revoked   {made.reference}: no alias can point to it, and it is not run any more")
