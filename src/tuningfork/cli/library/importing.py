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
from tuningfork.cli.library.registries import check_one
from tuningfork.cli.options import JsonOption, ModelOption
from tuningfork.errors import LibraryError

if TYPE_CHECKING:
    from tuningfork.library.bundle_rows import ImportedBundle
    from tuningfork.library.store import Library

_SHOWN = 12


def import_(
    bundle: Annotated[
        Path | None, typer.Option("--bundle", help="File to read, as export writes it.")
    ] = None,
    peft: Annotated[Path | None, typer.Option("--peft", help="PEFT folder to read; needs --task.")] = None,
    task: Annotated[
        Path | None,
        typer.Option("--task", help="Of a PEFT folder: task file with how rows are written."),
    ] = None,
    model: ModelOption = "bundled",
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
    """Add the versions in a bundle, if it is whole and whoever signed it is trusted; or a PEFT folder."""
    check_one(bundle=bundle, peft=peft)
    if peft is not None:
        if task is None or dry_run:
            raise LibraryError("a PEFT folder needs a task (--task FILE), and has no --dry-run")
        with opened(library, artifacts, may_make=True) as place:
            _from_peft(place, peft, task, model, actor_name(actor, place), name, as_json)
        return
    from tuningfork.library.bundle import import_bundle
    from tuningfork.library.exchange.keys import read_public_key

    assert bundle is not None
    key = None if trust is None else read_public_key(trust)
    with opened(library, artifacts, may_make=not dry_run) as place:
        done = import_bundle(
            place,
            bundle,
            actor=actor_name(actor, place),
            name=name,
            also_trusted=key,
            allows_unsigned=allow_unsigned,
            only_checks=dry_run,
        )
    if as_json:
        typer.echo(json.dumps(described_bundle(done) | {"dry_run": dry_run}))
    else:
        print_bundle(done, str(bundle), dry_run)


def _from_peft(
    library: "Library",
    folder: Path,
    task: Path,
    model: str,
    who: str,
    name: str | None,
    as_json: bool,
) -> None:
    from tuningfork.recipes.peft_folder import FolderSource, import_peft_folder
    from tuningfork.tasks.task import load_task

    wanted = load_task(task, imports_code=False)
    made = import_peft_folder(library, FolderSource(folder), wanted, model=model, author=who, name=name)
    notes = () if made.lineage.imported is None else made.lineage.imported.notes
    if as_json:
        typer.echo(json.dumps({"reference": made.reference, "notes": notes}))
        return
    typer.echo(f"Version   {made.reference} (from {folder}) added")
    for note in notes:
        typer.echo(f"Note      {note}")


def print_bundle(done: "ImportedBundle", source: str, dry_run: bool) -> None:
    """Say what became of a bundle, a line for each version."""
    by = f"signed by {done.signer}, {done.key}" if done.key else "signed by nobody"
    typer.echo(f"Bundle    {source} from library {done.library[:_SHOWN]}, {by}")
    for each in done.versions:
        what = ("would be added" if dry_run else "added") if each.is_new else "is here already"
        files = f", {each.num_evidence} files of evidence" if each.num_evidence else ""
        typer.echo(f"Version   {each.version.reference} (there {each.origin}) {what}{files}")
    for sha256 in done.not_frozen:
        typer.echo(
            f"Note      evidence counts once its rows are frozen here, if you judge by them: "
            f"tuningfork library dataset freeze {sha256[:_SHOWN]}"
        )


def described_bundle(done: "ImportedBundle") -> dict[str, object]:
    """The same as JSON."""
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
