"""`tuningfork library tag` and `tuningfork library untag`."""

from typing import Annotated

import typer

from tuningfork.cli.library.options import (
    ActorOption,
    ArtifactsOption,
    LibraryOption,
    actor_name,
    opened,
)

TargetArgument = Annotated[
    str, typer.Argument(metavar="NAME[@VERSION]", help="A prompt as a whole, or one of its versions.")
]
TagsArgument = Annotated[list[str], typer.Argument(metavar="TAG...", help="Words such as language:en.")]


def tag(
    target: TargetArgument,
    tags: TagsArgument,
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    actor: ActorOption = None,
) -> None:
    """Tag a prompt or a version, to find it by."""
    with opened(library, artifacts) as found:
        who = actor_name(actor, found)
        found.tag(target, *tags, actor=who)
    typer.echo(f"Tagged    {target}: {', '.join(tags)}")


def untag(
    target: TargetArgument,
    tags: TagsArgument,
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    actor: ActorOption = None,
) -> None:
    """Take tags away from a prompt or a version."""
    with opened(library, artifacts) as found:
        who = actor_name(actor, found)
        found.untag(target, *tags, actor=who)
    typer.echo(f"Untagged  {target}: {', '.join(tags)}")
