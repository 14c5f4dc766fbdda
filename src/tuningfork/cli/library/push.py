"""`tuningfork library push`."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from tuningfork.cli.library.hub import BUNDLE, PEFT, HubPush
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


class HubForm(StrEnum):
    """What goes to the Hub."""

    BUNDLE = BUNDLE
    PEFT = PEFT


def push(
    version: Annotated[str, typer.Argument(metavar="NAME@VERSION", help="The version to send.")],
    mlflow: MlflowOption = None,
    langfuse: LangfuseOption = None,
    hub: Annotated[
        str | None, typer.Option("--hub", metavar="OWNER/NAME", help="Repository on the Hugging Face Hub.")
    ] = None,
    name_there: Annotated[
        str | None, typer.Option("--as", help="Name of the prompt there. Default: its own.")
    ] = None,
    alias: Annotated[
        list[str] | None, typer.Option("--alias", help="Alias or label to move to it there; repeatable.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Add it though somebody else made the newest one there.")
    ] = False,
    form: Annotated[HubForm, typer.Option("--form", help="On the Hub: a bundle, or PEFT.")] = HubForm.BUNDLE,
    key: Annotated[Path | None, typer.Option("--key", help="Sign the bundle with this key.")] = None,
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Do not sign the bundle.")] = False,
    public: Annotated[bool, typer.Option("--public", help="Make a new repository public.")] = False,
    insecure: InsecureOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent, and stop.")] = False,
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    actor: ActorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a version to MLflow or Langfuse (words), or to the Hugging Face Hub (any)."""
    check_one(mlflow=mlflow, langfuse=langfuse, hub=hub)
    who = actor_name(actor)
    if hub is not None:
        request = HubPush(hub, form.value, key, unsigned, public, who, dry_run)
        with opened(library, artifacts) as found:
            _print(request.run(found, version), dry_run, as_json)
        return
    from tuningfork.library.exchange.mlflow import name_there as plain_name
    from tuningfork.library.naming import name_in
    from tuningfork.library.pushing import push_version

    own = name_in(version) if mlflow is None else plain_name(name_in(version))
    how: dict[str, Any] = {"actor": who, "aliases": alias or (), "overrides": force, "dry_run": dry_run}
    with registry_at(mlflow, langfuse, insecure=insecure) as registry, opened(library, artifacts) as found:
        record, pushed = push_version(found, registry, version, name_there or own, **how)
    described = {"version": record.reference, "reference": pushed.reference, "is_new": pushed.is_new}
    _print(described, dry_run, as_json)


def _print(described: dict[str, Any], dry_run: bool, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(described | {"dry_run": dry_run}))
        return
    what = ("would become" if dry_run else "is now") if described["is_new"] else "is there already:"
    typer.echo(f"Push      {described['version']} {what} {described['reference']}")
    for name, size in described.get("files", {}).items():
        typer.echo(f"File      {name}: {size} bytes")
