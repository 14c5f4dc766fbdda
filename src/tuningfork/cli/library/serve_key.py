"""`tuningfork library serve-key`."""

from typing import Annotated

import typer

from tuningfork.cli.library.key import ExpiresOption, UserOption
from tuningfork.cli.library.options import (
    ActorOption,
    ArtifactsOption,
    LibraryOption,
    actor_name,
    opened,
)
from tuningfork.cli.options import JsonOption


def serve_key(
    prompts: Annotated[
        list[str],
        typer.Argument(metavar="PROMPT...", help="Prompts or folders: shop/tickets, shop/*, reply@beta."),
    ],
    name: Annotated[str, typer.Option("--name", help="What it is for, in a word.")] = "serving",
    user: UserOption = None,
    expires: ExpiresOption = "365d",
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    actor: ActorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key that only reads some prompts: their production, if no other alias is named."""
    from tuningfork.cli.library.people_tables import print_key
    from tuningfork.library.keys import read_expiry

    with opened(library, artifacts) as found:
        who = actor_name(actor, found)
        scopes = [f"read:{prompt}" for prompt in prompts]
        made = found.keys.create(
            user or who, name=name, scopes=scopes, expires=read_expiry(expires), actor=who
        )
    print_key(made, as_json=as_json)
