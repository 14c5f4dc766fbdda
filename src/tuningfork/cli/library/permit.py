"""`tuningfork library permit` and `tuningfork library forbid`."""

from typing import Annotated

import typer

from tuningfork.cli.library.options import (
    ActorOption,
    ArtifactsOption,
    LibraryOption,
    RoleName,
    actor_name,
    opened,
)
from tuningfork.cli.library.user import PersonArgument
from tuningfork.cli.options import JsonOption
from tuningfork.errors import LibraryError

PlaceArgument = Annotated[
    str, typer.Argument(metavar="PLACE", help="A folder (shop/) or a prompt (shop/tickets).")
]


def permit(
    name: PersonArgument,
    place: PlaceArgument,
    role: Annotated[RoleName | None, typer.Option("--role", help="Their role there.")] = None,
    as_around: Annotated[
        bool, typer.Option("--as-around", help="Take back what was said of the place.")
    ] = False,
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    actor: ActorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give somebody another role in a folder or for a prompt; the nearest place counts."""
    if (role is None) != as_around:
        raise LibraryError(f"{place}: say either --role ROLE or --as-around")
    from tuningfork.cli.library.people_tables import print_person

    with opened(library, artifacts) as found:
        who = actor_name(actor, found)
        if role is None:
            person = found.people.withdraw(name, place, actor=who)
        else:
            person = found.people.permit(name, place, role.value, actor=who)
    print_person(person, "Permitted", as_json=as_json)


def forbid(
    name: PersonArgument,
    place: PlaceArgument,
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    actor: ActorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keep somebody out of a folder or away from a prompt."""
    from tuningfork.cli.library.people_tables import print_person

    with opened(library, artifacts) as found:
        person = found.people.permit(name, place, "none", actor=actor_name(actor, found))
    print_person(person, "Forbidden", as_json=as_json)
