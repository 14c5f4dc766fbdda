"""Options that several commands of the library take."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tuningfork.library.store import Library


class RoleName(StrEnum):
    """What somebody may do."""

    NONE = "none"
    VIEWER = "viewer"
    EDITOR = "editor"
    REVIEWER = "reviewer"
    ADMIN = "admin"


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
    """The library that the options name, as whoever runs the command may use it, for a `with`.

    Raises:
        LibraryError: if there is none, unless it may be made.
        AccessError: if `TUNINGFORK_KEY` holds a key that may not be used.
    """
    from tuningfork.library.places import LibraryPlace
    from tuningfork.library.sign_in import sign_in

    place = LibraryPlace.of(library, artifacts)
    return sign_in(place.open() if may_make else place.open_existing())


def actor_name(given: str | None, library: "Library | None" = None) -> str:
    """Who acts: whoever is named, else whoever signed in to the library, else the user of the system.

    Raises:
        LibraryError: if neither is known.
    """
    if given is not None and given.strip():
        return given.strip()
    if library is not None and library.actor is not None:
        return library.actor.name
    from tuningfork.library.sign_in import system_user

    return system_user()
