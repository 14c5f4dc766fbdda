"""`tuningfork library diff`."""

from typing import Annotated

import typer

from tuningfork.cli.library.options import ArtifactsOption, LibraryOption, opened
from tuningfork.cli.options import JsonOption, MovedModelOption


def diff(
    before: Annotated[str, typer.Argument(metavar="BEFORE", help="A version: reply@2, or reply@production.")],
    after: Annotated[str, typer.Argument(metavar="AFTER", help="The version to compare with it.")],
    words: Annotated[
        bool, typer.Option("--words", help="Only the words, in full, with marks where they differ.")
    ] = False,
    limit: Annotated[
        int,
        typer.Option("--limit", "-n", help="Virtual tokens and layers to show: those changed most.", min=1),
    ] = 10,
    nearest: Annotated[
        bool,
        typer.Option(
            "--nearest",
            help="The token nearest to each virtual token, before and after; reads the base model.",
        ),
    ] = False,
    model: MovedModelOption = None,
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what two versions differ in: words, contract, files, figures, virtual tokens."""
    from tuningfork.cli.library.difference_tables import print_diff, print_words

    with opened(library, artifacts) as found:
        difference = found.diff(before, after)
        if nearest:
            from tuningfork.recipes.nearest_tokens import with_nearest_tokens

            difference = with_nearest_tokens(found, difference, model=model)
    if as_json:
        typer.echo(difference.model_dump_json())
    elif words:
        print_words(difference)
    else:
        print_diff(difference, limit=limit)
