"""`tuningfork library pull`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuningfork.cli.library.hub import HubPull
from tuningfork.cli.library.importing import described_bundle, print_bundle
from tuningfork.cli.library.options import (
    ActorOption,
    ArtifactsOption,
    LibraryOption,
    actor_name,
    opened,
)
from tuningfork.cli.library.registries import (
    InsecureOption,
    LangfuseOption,
    MlflowOption,
    check_one,
    registry_at,
)
from tuningfork.cli.options import JsonOption
from tuningfork.errors import LibraryError

if TYPE_CHECKING:
    from tuningfork.library.bundle_rows import ImportedBundle
    from tuningfork.library.exchange.registry import Registry
    from tuningfork.library.store import Library
    from tuningfork.recipes.pull import PulledVersion


def pull(
    prompt: Annotated[
        str | None,
        typer.Argument(
            metavar="[PROMPT]", help="There: reply, reply/3 or reply@production. Default version: the newest."
        ),
    ] = None,
    mlflow: MlflowOption = None,
    langfuse: LangfuseOption = None,
    hub: Annotated[
        str | None,
        typer.Option("--hub", metavar="OWNER/NAME[@REVISION]", help="Repository on the Hugging Face Hub."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Of the prompt here. Default: what it is called there.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All versions, the oldest first.")] = False,
    task: Annotated[
        Path | None, typer.Option("--task", help="Task file that says how rows are written and answered.")
    ] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="What it runs on.")] = "bundled",
    as_text: Annotated[
        bool, typer.Option("--as-text", help="Take Jinja in a template as plain text; it is never run.")
    ] = False,
    trust: Annotated[
        str | None, typer.Option("--trust", help="Of a bundle: whose signature to take, a key or its file.")
    ] = None,
    allow_unsigned: Annotated[
        bool, typer.Option("--allow-unsigned", help="Of a bundle: take it though nobody signed it.")
    ] = False,
    insecure: InsecureOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would come, and stop.")] = False,
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    actor: ActorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register a version from MLflow or Langfuse (words), or from the Hugging Face Hub (any)."""
    check_one(mlflow=mlflow, langfuse=langfuse, hub=hub)
    if (prompt is None) == (hub is None):
        raise LibraryError("name a PROMPT of MLflow or Langfuse, or a repository with --hub alone")
    from tuningfork.tasks.task import load_task

    wanted = None if task is None else load_task(task, imports_code=False)
    who = actor_name(actor)
    with opened(library, artifacts, may_make=not dry_run) as found:
        if hub is not None:
            request = HubPull(hub, wanted, model, who, name, trust, allow_unsigned, dry_run)
            _tell_of_hub(*request.run(found), as_json=as_json)
            return
        with registry_at(mlflow, langfuse, insecure=insecure) as registry:
            how = {"task": wanted, "model": model, "as_text": as_text, "dry_run": dry_run}
            done = _from_registry(found, registry, prompt or "", every, {"author": who, "name": name, **how})
    _tell(done, dry_run, as_json=as_json)


def _tell(done: "list[PulledVersion]", dry_run: bool, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([_described(each, dry_run) for each in done]))
        return
    for each in done:
        _print(each, dry_run)


def _from_registry(
    library: "Library", registry: "Registry", prompt: str, every: bool, settings: dict[str, Any]
) -> "list[PulledVersion]":
    from tuningfork.library.exchange.registry import split_reference
    from tuningfork.recipes.pull import pull_prompt

    there, which = split_reference(prompt)
    versions = [str(number) for number in registry.numbers(there)] if every else [which]
    return [pull_prompt(library, registry, there, version, **settings) for version in versions]


def _tell_of_hub(described: dict[str, Any], bundle: "ImportedBundle | None", *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(described | ({} if bundle is None else described_bundle(bundle))))
    elif bundle is not None:
        print_bundle(bundle, described["from"], described["dry_run"])
    elif described["reference"] is None:
        typer.echo(f"Would     read {', '.join(sorted(described['files']))} of {described['from']}")
    else:
        typer.echo(f"Version   {described['reference']} (there {described['from']}) added")


def _described(done: "PulledVersion", dry_run: bool) -> dict[str, Any]:
    return {
        "reference": None if done.version is None else done.version.reference,
        "name": done.name,
        "origin": done.pulled.origin.model_dump(mode="json"),
        "is_new": done.is_new,
        "aliases": done.pulled.aliases,
        "tags": done.pulled.tags,
        "dry_run": dry_run,
    }


def _print(done: "PulledVersion", dry_run: bool) -> None:
    there = done.pulled.origin.reference
    if done.version is not None:
        what = "added" if done.is_new else "is here already"
        typer.echo(f"Version   {done.version.reference} (there {there}) {what}")
    elif dry_run:
        typer.echo(f"Version   {done.name} would get one more (there {there})")
    for note in done.pulled.origin.notes:
        typer.echo(f"Note      {note}")
    if done.pulled.aliases:
        typer.echo(
            f"Note      there it is {', '.join(done.pulled.aliases)}; aliases here move by promote alone"
        )
