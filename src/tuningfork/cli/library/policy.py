"""`tuningfork library policy`."""

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


def policy(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A prompt. Default: what holds for all.")
    ] = None,
    alias: Annotated[str, typer.Option("--alias", help="The alias that is guarded.")] = "production",
    gates: Annotated[
        Path | None,
        typer.Option("--set", help="YAML or JSON file: each gate and its settings, such as contract: {}."),
    ] = None,
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    actor: ActorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the gates that guard an alias, or set them."""
    from tuningfork.library.gates.policy_file import read_policy

    wanted = None if gates is None else read_policy(gates)
    with opened(library, artifacts, may_make=wanted is not None) as found:
        who = actor_name(actor, found)
        if wanted is not None:
            found.set_policy(name, alias, wanted, actor=who)
        guarding = found.policy(name, alias)
    if as_json:
        typer.echo(json.dumps({"prompt": name, "alias": alias, "gates": guarding}))
        return
    of = f"{name}@{alias}" if name else f"{alias} of prompts without gates of their own"
    typer.echo(f"Gates of {of}:" if guarding else f"No gates guard {of}")
    for gate, settings in guarding.items():
        typer.echo(f"  {gate}" + (f"  {json.dumps(settings)}" if settings else ""))
