"""`tuningfork library search`."""

from typing import Annotated

import typer

from tuningfork.cli.library.options import ArtifactsOption, LibraryOption, opened
from tuningfork.cli.options import JsonOption


def search(
    words: Annotated[
        list[str], typer.Argument(metavar="WORD...", help="Words, or how they begin; all must be there.")
    ],
    folder: Annotated[str | None, typer.Option("--folder", help="Only in this folder, such as shop.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="At most this many.", min=1)] = 20,
    after: Annotated[
        str | None, typer.Option("--after", help="Go on behind a page, with what it named.")
    ] = None,
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find prompts by words in their names, tags, descriptions and newest texts, the best first."""
    from tuningfork.cli.library.tables import print_found
    from tuningfork.library.listing import Filter

    with opened(library, artifacts) as found:
        page = found.search(" ".join(words), Filter(folder=folder), limit=limit, after=after)
    print_found(page, as_json=as_json)
