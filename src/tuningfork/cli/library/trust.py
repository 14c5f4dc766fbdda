"""`tuningfork library trust`."""

import json
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
from tuningfork.errors import LibraryError


def trust(
    key: Annotated[
        str | None, typer.Argument(metavar="[KEY]", help="A file *.pub, or ed25519:... Default: list them.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Whose key it is. Default: what its file says.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Trust it no longer.")] = False,
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    actor: ActorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say whose signatures on bundles count here; without KEY, list them."""
    from tuningfork.library.exchange.keys import PublicKey, read_public_key

    if key is None and (remove or name is not None):
        raise LibraryError("--remove and --name are for a KEY, and none was given")
    found = None if key is None else read_public_key(key)
    with opened(library, artifacts) as place:
        if found is not None and remove:
            place.end_trust(found, actor=actor_name(actor))
        elif found is not None:
            place.trust(PublicKey(found.text, found.name if name is None else name), actor=actor_name(actor))
        keys = place.trusted_keys()
    if as_json:
        typer.echo(json.dumps([{"name": each.name, "key": each.text} for each in keys]))
        return
    for each in keys:
        typer.echo(f"{each.text}  {each.name}")
    if not keys:
        typer.echo("No key is trusted: bundles are imported with --trust, and their lineage says so")
