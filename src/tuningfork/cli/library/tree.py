"""`tuningfork library tree`."""

from typing import Annotated

import typer

from tuningfork.cli.library.options import ArtifactsOption, LibraryOption, opened
from tuningfork.cli.options import JsonOption


def tree(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A prompt.")],
    limit: Annotated[int, typer.Option("--limit", "-n", help="Versions to show: the newest.", min=1)] = 50,
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show which versions were made from which, and the candidates that compete."""
    from tuningfork.cli.library.lines import print_tree

    with opened(library, artifacts) as found:
        print_tree(found.tree(name), limit=limit, as_json=as_json)
