"""How people and keys look on a terminal, or as JSON."""

import json
from collections.abc import Sequence

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tuningfork.library.keys import KeyRecord, NewKey
from tuningfork.library.people import Person

_WARNING = (
    "This is the only time that it is shown: the library keeps its hash. Whoever has it can use it; programs "
    "find it in TUNINGFORK_KEY."
)


def print_person(person: Person, what: str, *, as_json: bool) -> None:
    """Print what somebody may do now that it was changed."""
    if as_json:
        typer.echo(person.model_dump_json())
        return
    elsewhere = "".join(f"; {role} at {place}" for place, role in person.permissions.items())
    state = ", disabled" if person.disabled else ""
    typer.echo(f"{what:<9} {person.name}: {person.role}{state}{elsewhere}")


def print_people(people: Sequence[Person], *, as_json: bool) -> None:
    """Print everybody."""
    if as_json:
        typer.echo(json.dumps([person.model_dump(mode="json") for person in people]))
        return
    if not people:
        typer.echo("Nobody was added: whoever can open the library's files may do everything")
        return
    table = _table("name", "role", "elsewhere", "since")
    for person in people:
        places = " ".join(f"{place}={role}" for place, role in person.permissions.items())
        role = f"{person.role}, disabled" if person.disabled else person.role
        table.add_row(*map(Text, (person.name, role, places, person.created[:10])))
    Console().print(table)


def print_keys(keys: Sequence[KeyRecord], *, as_json: bool) -> None:
    """Print keys without their secrets."""
    if as_json:
        typer.echo(json.dumps([key.model_dump(mode="json") for key in keys]))
        return
    if not keys:
        typer.echo("No keys; make one with: tuningfork library key create --help")
        return
    table = _table("key", "name", "of", "scopes", "until", "used")
    for key in keys:
        until = "revoked" if key.revoked else key.expires[:10] if key.expires else "for good"
        used = key.last_used[:10] if key.last_used else "never"
        table.add_row(*map(Text, (key.prefix, key.name, key.person, " ".join(key.scopes), until, used)))
    Console().print(table)


def print_key(made: NewKey, *, as_json: bool) -> None:
    """Print a new key: the secret on standard output and nowhere else, and this once."""
    record = made.record
    until = f"until {record.expires[:16].replace('T', ' ')} UTC" if record.expires else "for good"
    typer.echo(f"Key       {record.prefix} of {record.person}, {until}: {', '.join(record.scopes)}", err=True)
    typer.echo(f"Warning   {_WARNING}", err=True)
    typer.echo(json.dumps(record.model_dump(mode="json") | {"key": made.secret}) if as_json else made.secret)


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, no_wrap=column in ("key", "since", "until", "used"), overflow="fold")
    return table
