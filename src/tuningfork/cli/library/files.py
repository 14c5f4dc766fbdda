"""`tuningfork library check-out`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from tuningfork.cli.library.options import ArtifactsOption, LibraryOption, opened
from tuningfork.cli.options import JsonOption


def check_out(
    version: Annotated[str, typer.Argument(metavar="NAME@VERSION", help="The version.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to make; a run folder as any.")],
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the files of a version into a new folder, each checked against its hash."""
    from tuningfork.recipes.open_version import check_out_to

    with opened(library, artifacts) as found:
        record = found.get(version)
        check_out_to(found, record, output)
    if as_json:
        typer.echo(json.dumps({"path": str(output), "reference": record.reference}))
        return
    typer.echo(f"Wrote     {record.reference} to {output}: {len(record.content.files)} files")
