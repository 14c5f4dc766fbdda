"""`tuningfork library list`."""

from enum import StrEnum
from typing import Annotated

import typer

from tuningfork.cli.library.options import ArtifactsOption, LibraryOption, opened
from tuningfork.cli.options import JsonOption


class KindName(StrEnum):
    """What a prompt is."""

    TEXT = "text"
    SOFT = "soft"
    ADAPTER = "adapter"
    HYBRID = "hybrid"


def list_prompts(
    folder: Annotated[str | None, typer.Option("--folder", help="Only in this folder, such as shop.")] = None,
    tag: Annotated[str | None, typer.Option("--tag", help="Only those with this tag.")] = None,
    kind: Annotated[
        KindName | None, typer.Option("--kind", help="Only those whose newest version is of this kind.")
    ] = None,
    alias: Annotated[
        str | None, typer.Option("--alias", help="Only those with this alias, such as production.")
    ] = None,
    owner: Annotated[str | None, typer.Option("--owner", help="Only those of this owner.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="At most this many.", min=1)] = 50,
    after: Annotated[str | None, typer.Option("--after", help="Only names behind this one.")] = None,
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    as_json: JsonOption = False,
) -> None:
    """List prompts by name, with their aliases and tags."""
    from tuningfork.cli.library.tables import print_prompts
    from tuningfork.library.listing import Filter

    wanted = Filter(folder, tag, kind.value if kind else None, alias, owner)
    with opened(library, artifacts) as found:
        # One more than asked for tells whether there are more.
        prompts = found.prompts(wanted, limit=limit + 1, after=after)
    print_prompts(prompts[:limit], has_more=len(prompts) > limit, as_json=as_json)
