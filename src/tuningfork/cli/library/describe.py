"""`tuningfork library describe`."""

from typing import Annotated

import typer

from tuningfork.cli.library.options import (
    ActorOption,
    ArtifactsOption,
    LibraryOption,
    actor_name,
    opened,
)
from tuningfork.errors import LibraryError


def describe(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A prompt.")],
    description: Annotated[str | None, typer.Option("--description", help="What it is for.")] = None,
    owner: Annotated[str | None, typer.Option("--owner", help="To whom it belongs from now on.")] = None,
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    actor: ActorOption = None,
) -> None:
    """Change the description of a prompt, or its owner."""
    if description is None and owner is None:
        raise LibraryError(f"{name}: say what to change: --description TEXT or --owner NAME")
    with opened(library, artifacts) as found:
        who = actor_name(actor, found)
        found.describe(name, actor=who, description=description, owner=owner)
    typer.echo(f"Described {name}")
