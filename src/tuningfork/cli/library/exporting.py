"""`tuningfork library export`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuningfork.cli.library.options import (
    ActorOption,
    ArtifactsOption,
    LibraryOption,
    actor_name,
    opened,
)
from tuningfork.cli.library.registries import check_one
from tuningfork.cli.options import JsonOption, MovedModelOption
from tuningfork.errors import LibraryError

if TYPE_CHECKING:
    from tuningfork.library.store import Library


def export(
    versions: Annotated[
        list[str], typer.Argument(metavar="NAME[@VERSION]...", help="Versions; a bare name is production.")
    ],
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", help="File to write: with evidence and history, for another library."),
    ] = None,
    peft: Annotated[
        Path | None, typer.Option("--peft", help="Folder to write: the prompt of one version, for PEFT.")
    ] = None,
    model: MovedModelOption = None,
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
    """Write versions to a signed file for another library, or one to a folder for PEFT."""
    check_one(bundle=bundle, peft=peft)
    with opened(library, artifacts) as found:
        if peft is not None:
            described = _to_peft(found, versions, peft, model, key is not None or unsigned)
        else:
            assert bundle is not None
            request = _Signing(key, signer, unsigned)
            described = _to_bundle(found, versions, bundle, actor_name(actor), request)
    if as_json:
        typer.echo(json.dumps(described))
        return
    files = f", {described['num_files']} files" if "num_files" in described else ""
    typer.echo(f"Wrote     {described['path']}: {', '.join(described['versions'])}{files}")
    if peft is None and described["signer"] is None:
        typer.echo("Unsigned  whoever gets it cannot tell who made it")
    elif peft is None:
        typer.echo(f"Signed    by {described['signer']['name']}, {described['signer']['key']}")


@dataclass(frozen=True, slots=True)
class _Signing:
    key: Path | None
    signer: str
    unsigned: bool

    def __post_init__(self) -> None:
        if (self.key is None) != self.unsigned:
            raise LibraryError(
                "sign the bundle with --key FILE (made by: tuningfork library keygen FILE), or say --unsigned"
            )


def _to_bundle(
    library: "Library", versions: list[str], path: Path, who: str, signing: _Signing
) -> dict[str, Any]:
    from tuningfork.library.bundle import export_bundle
    from tuningfork.library.exchange.keys import read_signing_key

    key = None if signing.key is None else read_signing_key(signing.key)
    made = export_bundle(library, versions, path, actor=who, key=key, signer=signing.signer)
    return {
        "path": str(path),
        "versions": [version.reference for version in made.versions],
        "num_files": len(made.objects),
        "library": made.library,
        "signer": None if made.signer is None else made.signer.model_dump(),
    }


def _to_peft(
    library: "Library", versions: list[str], folder: Path, model: str | None, is_signed: bool
) -> dict[str, Any]:
    if len(versions) != 1 or is_signed:
        raise LibraryError("a PEFT folder holds one version, and no signature")
    from tuningfork.recipes.peft_folder import export_peft_folder

    made = export_peft_folder(library, versions[0], folder, model=model)
    return {"path": str(folder), "versions": [made.reference]}
