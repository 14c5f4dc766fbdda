"""`tuningfork library import`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuningfork.cli.library.options import (
    ActorOption,
    ArtifactsOption,
    LibraryOption,
    actor_name,
    opened,
)
from tuningfork.cli.options import JsonOption

if TYPE_CHECKING:
    from tuningfork.library.bundle_rows import ImportedBundle

_SHOWN = 12


def import_(
    bundle: Annotated[Path, typer.Option("--bundle", help="File to read, as export writes it.")],
    trust: Annotated[
        str | None,
        typer.Option("--trust", help="Whose signature to take this once: a file *.pub, or ed25519:..."),
    ] = None,
    allow_unsigned: Annotated[
        bool, typer.Option("--allow-unsigned", help="Take it though nobody signed it.")
    ] = False,
    name: Annotated[
        str | None, typer.Option("--name", help="Of the prompt here. Default: what it is called there.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check all of it, say what would come, and write nothing.")
    ] = False,
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    actor: ActorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add the versions in a bundle, if it is whole and whoever signed it is trusted."""
    from tuningfork.library.bundle import import_bundle
    from tuningfork.library.exchange.keys import read_public_key

    key = None if trust is None else read_public_key(trust)
    with opened(library, artifacts, may_make=not dry_run) as place:
        done = import_bundle(
            place,
            bundle,
            actor=actor_name(actor),
            name=name,
            also_trusted=key,
            allows_unsigned=allow_unsigned,
            only_checks=dry_run,
        )
    if as_json:
        typer.echo(json.dumps(_described(done) | {"dry_run": dry_run}))
        return
    by = f"signed by {done.signer}, {done.key}" if done.key else "signed by nobody"
    typer.echo(f"Bundle    {bundle} from library {done.library[:_SHOWN]}, {by}")
    for each in done.versions:
        what = ("would be added" if dry_run else "added") if each.is_new else "is here already"
        files = f", {each.num_evidence} files of evidence" if each.num_evidence else ""
        typer.echo(f"Version   {each.version.reference} (there {each.origin}) {what}{files}")
    for sha256 in done.not_frozen:
        typer.echo(f"Note      evidence is about rows {sha256[:_SHOWN]}, and nobody has frozen that set here")


def _described(done: "ImportedBundle") -> dict[str, object]:
    versions = [
        {
            "reference": each.version.reference,
            "origin": each.origin,
            "is_new": each.is_new,
            "num_evidence": each.num_evidence,
        }
        for each in done.versions
    ]
    return {
        "versions": versions,
        "signer": done.signer,
        "key": done.key,
        "library": done.library,
        "not_frozen": done.not_frozen,
    }
