"""`tuningfork serve`."""

from typing import Annotated, Any

import typer

from tuningfork.cli.library.options import ArtifactsOption, LibraryOption
from tuningfork.cli.options import DeviceOption, takes
from tuningfork.cli.serving_options import SERVING_OPTIONS


@takes(SERVING_OPTIONS)
def serve(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PROMPT...]",
            help="Prompts of the library (shop/tickets, shop/*, reply@beta, reply@3) and run folders "
            "(runs/reply-1, or reply=runs/reply-1). Default: all of the library.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Base model. Default: that of the first prompt, or bundled."),
    ] = None,
    device: DeviceOption = "auto",
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Load and check everything, and say what would be served.")
    ] = False,
    **settings: Any,
) -> None:
    """Serve prompts over HTTP, as OpenAI's clients expect it; keys are those of the library.

    The key of an admin of the server itself is read from TUNINGFORK_ADMIN_KEY.
    """
    from tuningfork.cli.serving import serve_until_stopped
    from tuningfork.library.places import LibraryPlace

    serve_until_stopped(
        tuple(names or ()),
        LibraryPlace.of(library, artifacts),
        model=model,
        device=device,
        dry_run=dry_run,
        settings=settings,
    )
