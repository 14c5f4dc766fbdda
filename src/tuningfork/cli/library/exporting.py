"""`tuningfork library export`."""

import json
from pathlib import Path
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


def export(
    versions: Annotated[
        list[str], typer.Argument(metavar="NAME[@VERSION]...", help="Versions; a bare name is production.")
    ],
    bundle: Annotated[
        Path, typer.Option("--bundle", help="File to write: one, with evidence and history, for a library.")
    ],
    key: Annotated[
        Path | None, typer.Option("--key", help="Sign the bundle with this key of keygen.")
    ] = None,
    signer: Annotated[str, typer.Option("--signer", help="In whose name. Default: the actor's.")] = "",
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Do not sign it.")] = False,
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    actor: ActorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write versions to a signed file that another library can import."""
    if (key is None) != unsigned:
        raise LibraryError(
            "sign the bundle with --key FILE (tuningfork library keygen FILE makes one), or say --unsigned"
        )
    from tuningfork.library.bundle import export_bundle
    from tuningfork.library.exchange.keys import read_signing_key

    signing = None if key is None else read_signing_key(key)
    with opened(library, artifacts) as place:
        made = export_bundle(place, versions, bundle, actor=actor_name(actor), key=signing, signer=signer)
    references = [version.reference for version in made.versions]
    if as_json:
        by = None if made.signer is None else made.signer.model_dump()
        described = {"path": str(bundle), "versions": references, "library": made.library, "signer": by}
        typer.echo(json.dumps(described))
        return
    typer.echo(f"Wrote     {bundle}: {', '.join(references)}, {len(made.objects)} files")
    if made.signer is None:
        typer.echo("Unsigned  whoever gets it cannot tell who made it")
    else:
        typer.echo(f"Signed    by {made.signer.name}, {made.signer.key}")
