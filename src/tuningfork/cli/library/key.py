"""`tuningfork library key`: secrets by which programs come in."""

from typing import Annotated

import typer

from tuningfork.cli.interrupts import telling_of_interrupts
from tuningfork.cli.library.options import (
    ActorOption,
    ArtifactsOption,
    LibraryOption,
    ReasonOption,
    actor_name,
    opened,
)
from tuningfork.cli.options import JsonOption

UserOption = Annotated[str | None, typer.Option("--user", help="Whose key. Default: yours.")]
ExpiresOption = Annotated[
    str, typer.Option("--expires", help="After 90d or 12h, on a day (2027-01-31), or never.")
]


def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for, in a word: ci.")],
    scope: Annotated[
        list[str],
        typer.Option(
            "--scope",
            "-s",
            help="What it may do, if its user may: read:shop/*@production, register:shop/*. Repeatable.",
        ),
    ],
    user: UserOption = None,
    expires: ExpiresOption = "90d",
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    actor: ActorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key and print it, this once: only its hash is kept."""
    from tuningfork.cli.library.people_tables import print_key
    from tuningfork.library.keys import read_expiry

    with opened(library, artifacts) as found:
        who = actor_name(actor, found)
        made = found.keys.create(
            user or who, name=name, scopes=scope, expires=read_expiry(expires), actor=who
        )
    print_key(made, as_json=as_json)


def show_all(
    user: UserOption = None,
    everybody: Annotated[bool, typer.Option("--all", help="Those of everybody; for admins.")] = False,
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    as_json: JsonOption = False,
) -> None:
    """List keys: what they are for, until when, and when they were used last."""
    from tuningfork.cli.library.people_tables import print_keys

    with opened(library, artifacts) as found:
        who = actor_name(None, found)
        keys = found.keys.all(None if everybody else user or who, actor=who)
    print_keys(keys, as_json=as_json)


def revoke(
    prefix: Annotated[str, typer.Argument(metavar="PREFIX", help="Its first characters: tf_abcdefgh.")],
    reason: ReasonOption = "",
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    actor: ActorOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a key for good."""
    with opened(library, artifacts) as found:
        ended = found.keys.revoke(prefix, actor=actor_name(actor, found), reason=reason)
    if as_json:
        typer.echo(ended.model_dump_json())
        return
    typer.echo(f"Revoked   {ended.prefix} ({ended.name}) of {ended.person}")


app = typer.Typer(
    name="key",
    help="Keys of a library: what programs show to come in.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _name, _command in (("create", create), ("list", show_all), ("revoke", revoke)):
    app.command(_name)(telling_of_interrupts(_command))
