"""`tuningfork library comment`."""

from typing import Annotated

import typer

from tuningfork.cli.library.options import (
    ActorOption,
    ArtifactsOption,
    LibraryOption,
    actor_name,
    opened,
)


def comment(
    target: Annotated[
        str, typer.Argument(metavar="NAME[@VERSION]", help="A prompt as a whole, or one of its versions.")
    ],
    text: Annotated[str, typer.Argument(help="What to say; it stays for good.")],
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    actor: ActorOption = None,
) -> None:
    """Say something of a prompt or a version."""
    with opened(library, artifacts) as found:
        who = actor_name(actor, found)
        made = found.comment(target, text, author=who)
    typer.echo(f"Comment   {target}, by {made.author} at {made.time[:16].replace('T', ' ')}")
