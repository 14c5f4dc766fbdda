"""`tuningfork library timeline`."""

from typing import Annotated

import typer

from tuningfork.cli.library.options import ArtifactsOption, LibraryOption, opened
from tuningfork.cli.options import JsonOption


def timeline(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A prompt.")],
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show which version each alias pointed to, from when to when, as a picture."""
    from tuningfork.cli.library.lines import print_timeline
    from tuningfork.library.canonical import now

    with opened(library, artifacts) as found:
        print_timeline(found.timeline(name), until=now(), as_json=as_json)
