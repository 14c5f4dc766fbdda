"""`tuningfork library register`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from tuningfork.cli.library.options import (
    ActorOption,
    ArtifactsOption,
    LibraryOption,
    actor_name,
    opened,
)
from tuningfork.cli.options import JsonOption
from tuningfork.errors import LibraryError


def register(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="A finished run, or a task file whose words to register.")
    ],
    name: Annotated[
        str | None, typer.Option("--name", help="Of the prompt, such as shop/reply. Default: the task's.")
    ] = None,
    parent: Annotated[
        int | None,
        typer.Option("--parent", help="Version it was made from. Default: found by its words.", min=1),
    ] = None,
    note: Annotated[str, typer.Option("--note", help="What is new in this version.")] = "",
    description: Annotated[str, typer.Option("--description", help="Of a prompt that is new.")] = "",
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="What a task's words run on. Default: bundled.")
    ] = None,
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    actor: ActorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register a finished run, or the words of a task file, as a new version."""
    if model is not None and source.is_dir():
        raise LibraryError("--model is for the words of a task file; a run knows its model")
    from tuningfork.recipes.register import register_run, register_text
    from tuningfork.tasks.task import load_task

    task = load_task(source) if source.is_file() else None
    with opened(library, artifacts, may_make=True) as found:
        author = actor_name(actor, found)
        if task is None:
            made = register_run(
                found, source, author=author, name=name, parent=parent, note=note, description=description
            )
        else:
            made = register_text(
                found,
                task,
                author=author,
                name=name,
                model=model or "bundled",
                parent=parent,
                note=note,
                description=description,
            )
    if as_json:
        typer.echo(json.dumps(made.model_dump(mode="json") | {"reference": made.reference}))
        return
    typer.echo(f"Version   {made.reference} ({made.content.kind}, content {made.content_hash[:12]})")
    typer.echo(f'Try       tuningfork run {made.reference} "..."')
    typer.echo(f"Promote   tuningfork library promote {made.reference}")
