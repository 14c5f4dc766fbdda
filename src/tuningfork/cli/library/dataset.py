"""`tuningfork library dataset`: sets of rows, and which of them are evidence."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tuningfork.cli.interrupts import telling_of_interrupts
from tuningfork.cli.library.options import (
    ActorOption,
    ArtifactsOption,
    LibraryOption,
    actor_name,
    opened,
)
from tuningfork.cli.options import JsonOption


class DatasetRoleName(StrEnum):
    """What a set of rows is for."""

    TRAIN = "train"
    TEST = "test"
    CRITICAL = "critical"
    CLEAN = "clean"
    PROBES = "probes"


def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it, such as shop/critical.")],
    rows: Annotated[
        str, typer.Argument(metavar="ROWS", help="Rows: .jsonl, .csv, .parquet, a dataset folder or name.")
    ],
    task: Annotated[Path, typer.Option("--task", help="Task file that says which columns hold what.")],
    role: Annotated[
        DatasetRoleName, typer.Option("--role", help="What it is for; critical rows must not break.")
    ] = DatasetRoleName.TEST,
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    actor: ActorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Note the rows of a file by their hashes; the rows themselves stay where they are."""
    from tuningfork.recipes.measure_version import row_hashes

    keys = row_hashes(rows, task)
    with opened(library, artifacts, may_make=True) as store:
        who = actor_name(actor, store)
        made = store.add_dataset(name, keys, role=role.value, author=who)
    if as_json:
        typer.echo(made.model_dump_json())
        return
    typer.echo(f"Rows      {made.shown}, a {made.role} set of {made.num_rows}")
    typer.echo(f"Freeze    tuningfork library dataset freeze {made.name}")


def freeze(
    dataset: Annotated[str, typer.Argument(metavar="SET", help="Its name, or how its hash begins.")],
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    actor: ActorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have a set of rows stand for good, so that gates take what was measured on it."""
    with opened(library, artifacts) as store:
        who = actor_name(actor, store)
        made = store.freeze_dataset(dataset, actor=who)
    if as_json:
        typer.echo(made.model_dump_json())
        return
    typer.echo(f"Frozen    {made.shown}, a {made.role} set of {made.num_rows} rows, since {made.frozen:.16}")


def show_all(
    library: LibraryOption = None, artifacts: ArtifactsOption = None, as_json: JsonOption = False
) -> None:
    """List sets of rows by name."""
    from tuningfork.cli.library.evidence_tables import print_datasets

    with opened(library, artifacts) as store:
        found = store.datasets()
    if as_json:
        typer.echo(json.dumps({"datasets": [one.model_dump(mode="json") for one in found]}))
        return
    print_datasets(found)


app = typer.Typer(
    name="dataset",
    help="Sets of rows by their hash; what was measured on frozen ones is evidence.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("add")(telling_of_interrupts(add))
app.command("freeze")(telling_of_interrupts(freeze))
app.command("list")(telling_of_interrupts(show_all))
