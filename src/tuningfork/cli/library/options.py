"""Options that several commands of the library take."""

from getpass import getuser
from typing import TYPE_CHECKING, Annotated

import typer

from tuningfork.errors import LibraryError

if TYPE_CHECKING:
    from tuningfork.library.store import Library

LibraryOption = Annotated[
    str | None,
    typer.Option(
        "--library",
        envvar="TUNINGFORK_LIBRARY",
        help="The library: a folder, or a PostgreSQL URL. Default: library, beside the folder of the runs.",
    ),
]
ArtifactsOption = Annotated[
    str | None,
    typer.Option(
        "--artifacts",
        envvar="TUNINGFORK_ARTIFACTS",
        help="Where its files lie: a folder, or s3://bucket/folder. Default: beside its database.",
    ),
]
ActorOption = Annotated[
    str | None, typer.Option("--actor", help="Who does it. Default: your name in the operating system.")
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it stays in the history.")]
AliasOption = Annotated[str, typer.Option("--alias", help="The alias to move.")]


def opened(library: str | None, artifacts: str | None, *, may_make: bool = False) -> "Library":
    """The library that the options name, ready to be used in a `with`.

    Raises:
        LibraryError: if there is none, unless it may be made.
    """
    from tuningfork.library.places import LibraryPlace

    place = LibraryPlace.of(library, artifacts)
    return place.open() if may_make else place.open_existing()


def actor_name(given: str | None) -> str:
    """Who acts: whoever is named, else the user of the operating system.

    Raises:
        LibraryError: if neither is known.
    """
    if given is not None and given.strip():
        return given.strip()
    try:
        return getuser()
    except (OSError, KeyError) as error:
        raise LibraryError(
            "the operating system does not say who you are; name yourself: --actor NAME"
        ) from error
