"""`tuningfork library user`: who is known to a library, and their roles."""

from typing import Annotated

import typer

from tuningfork.cli.interrupts import telling_of_interrupts
from tuningfork.cli.library.options import (
    ActorOption,
    ArtifactsOption,
    LibraryOption,
    RoleName,
    actor_name,
    opened,
)
from tuningfork.cli.options import JsonOption
from tuningfork.errors import LibraryError

PersonArgument = Annotated[str, typer.Argument(metavar="NAME", help="A person, or a service.")]


def add(
    name: PersonArgument,
    role: Annotated[RoleName, typer.Option("--role", help="What they may do, where nothing else is said.")],
    key: Annotated[
        bool,
        typer.Option("--key", help="Make them a key for everything that they may do; it is printed once."),
    ] = False,
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    actor: ActorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add somebody; the first must be an admin, and from then on only people come in."""
    from tuningfork.cli.library.people_tables import print_key, print_person

    with opened(library, artifacts, may_make=True) as found:
        who = actor_name(actor, found)
        if key:
            made = found.keys.create_person(name, role.value, actor=who)
            print_key(made, as_json=as_json)
            return
        if not found.people.exist():
            _check_comes_in(name)
        person = found.people.add(name, role.value, actor=who)
    print_person(person, "Added", as_json=as_json)


def show_all(
    library: LibraryOption = None, artifacts: ArtifactsOption = None, as_json: JsonOption = False
) -> None:
    """List people with their roles, and where those are others."""
    from tuningfork.cli.library.people_tables import print_people

    with opened(library, artifacts) as found:
        people = found.people.all(actor=actor_name(None, found))
    print_people(people, as_json=as_json)


def role(
    name: PersonArgument,
    role: Annotated[
        RoleName, typer.Argument(metavar="ROLE", help="none, viewer, editor, reviewer or admin.")
    ],
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    actor: ActorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give somebody another role, where nothing else is said."""
    from tuningfork.cli.library.people_tables import print_person

    with opened(library, artifacts) as found:
        person = found.people.change_role(name, role.value, actor=actor_name(actor, found))
    print_person(person, "Changed", as_json=as_json)


def disable(
    name: PersonArgument,
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    actor: ActorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let somebody in no more, nor any of their keys."""
    from tuningfork.cli.library.people_tables import print_person

    with opened(library, artifacts) as found:
        person = found.people.disable(name, actor=actor_name(actor, found))
    print_person(person, "Disabled", as_json=as_json)


def enable(
    name: PersonArgument,
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    actor: ActorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let somebody in again, with the role and the keys that they had."""
    from tuningfork.cli.library.people_tables import print_person

    with opened(library, artifacts) as found:
        person = found.people.enable(name, actor=actor_name(actor, found))
    print_person(person, "Enabled", as_json=as_json)


def _check_comes_in(name: str) -> None:
    """Check that adding the first person does not lock everybody out."""
    from tuningfork.library.sign_in import system_user

    user = system_user()
    if name != user:
        raise LibraryError(
            f"{name}: you are {user} here, and nobody could come in any more; add {user} first, or make a "
            f"key at once: tuningfork library user add {name} --role admin --key"
        )


app = typer.Typer(
    name="user",
    help="People of a library and their roles.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _name, _command in (
    ("add", add),
    ("list", show_all),
    ("role", role),
    ("disable", disable),
    ("enable", enable),
):
    app.command(_name)(telling_of_interrupts(_command))
