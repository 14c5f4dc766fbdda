"""`tuningfork library show` and `tuningfork library history`."""

from typing import Annotated

import typer

from tuningfork.cli.library.options import ArtifactsOption, LibraryOption, opened
from tuningfork.cli.options import JsonOption


def show(
    target: Annotated[
        str, typer.Argument(metavar="NAME[@VERSION]", help="A prompt, or one of its versions: reply@3.")
    ],
    limit: Annotated[int, typer.Option("--limit", "-n", help="Versions and comments to show.", min=1)] = 20,
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a prompt with its versions, or one version with all it is made of."""
    from tuningfork.cli.library.tables import print_page, print_version

    with opened(library, artifacts) as found:
        if "@" not in target:
            print_page(found.page(target, limit=limit), as_json=as_json)
            return
        version = found.get(target)
        print_version(version, found.file_sizes(version), as_json=as_json)


def history(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A prompt.")],
    alias: Annotated[str | None, typer.Option("--alias", help="Only of this alias.")] = None,
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show where the aliases of a prompt pointed over time, and what was refused."""
    from tuningfork.cli.library.tables import print_history

    with opened(library, artifacts) as found:
        print_history(found.history(name, alias), as_json=as_json)
