"""`tuningfork library promote` and `tuningfork library rollback`."""

from typing import Annotated

import typer

from tuningfork.cli.library.options import (
    ActorOption,
    AliasOption,
    ArtifactsOption,
    LibraryOption,
    ReasonOption,
    actor_name,
    opened,
)
from tuningfork.cli.options import JsonOption
from tuningfork.errors import LibraryError


def promote(
    version: Annotated[
        str, typer.Argument(metavar="NAME@VERSION", help="The version: reply@3, or reply@staging.")
    ],
    alias: AliasOption = "production",
    expected: Annotated[
        int | None,
        typer.Option("--expected", help="Only if the alias points to this version now; 0: to none.", min=0),
    ] = None,
    override: Annotated[
        bool, typer.Option("--override", help="Move it though gates fail; needs a role and a --reason.")
    ] = False,
    reason: ReasonOption = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Ask the gates, and move nothing.")] = False,
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    actor: ActorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Move an alias to a version, if its gates pass."""
    if "@" not in version:
        raise LibraryError(
            f"{version}: say which version: {version}@3, {version}@latest or {version}@staging"
        )
    from tuningfork.cli.library.tables import print_move
    from tuningfork.library.aliases import MoveRequest

    with opened(library, artifacts) as found:
        who = actor_name(actor, found)
        candidate = found.get(version)
        request = MoveRequest(
            candidate.prompt,
            alias,
            candidate.number,
            who,
            reason,
            expected_number=expected,
            overrides_gates=override,
        )
        outcome = found.try_move(request, only_judges=dry_run)
    print_move(outcome, is_dry_run=dry_run, as_json=as_json)
    if not outcome.moved:
        raise typer.Exit(1)


def rollback(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A prompt.")],
    alias: AliasOption = "production",
    to: Annotated[
        int | None,
        typer.Option("--to", help="Version it pointed to before. Default: the last such.", min=1),
    ] = None,
    reason: ReasonOption = "",
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    actor: ActorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Point an alias back to the version before; gates are not asked again."""
    from tuningfork.cli.library.tables import print_move

    with opened(library, artifacts) as found:
        who = actor_name(actor, found)
        outcome = found.roll_back(name, alias, actor=who, reason=reason, to=to)
    print_move(outcome, is_dry_run=False, as_json=as_json)
