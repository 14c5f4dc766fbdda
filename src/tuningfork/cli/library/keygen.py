"""`tuningfork library keygen`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from tuningfork.cli.options import JsonOption


def keygen(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it; never over a file.")],
    name: Annotated[
        str, typer.Option("--name", help="Whose it is, for those who will trust it: Shop team.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Make a key to sign bundles with: FILE is yours alone, FILE.pub is for others to verify with."""
    from tuningfork.library.exchange.keys import PUBLIC_SUFFIX, make_key

    public = make_key(path, name=name)
    if as_json:
        described = {"path": str(path), "public": f"{path}{PUBLIC_SUFFIX}", "key": public.text}
        typer.echo(json.dumps(described | {"name": public.name}))
        return
    typer.echo(f"Wrote     {path}: keep it secret, and a copy in a safe place")
    typer.echo(f"Wrote     {path}{PUBLIC_SUFFIX}: {public.text}")
    typer.echo(f"Others    tuningfork library trust {path.name}{PUBLIC_SUFFIX}")
