"""Whether and where a command that makes a run registers it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuningfork.cli.library.options import LibraryOption, actor_name
from tuningfork.errors import TuningForkError

if TYPE_CHECKING:
    from tuningfork.library.contents import VersionRecord

NameOption = Annotated[
    str | None,
    typer.Option("--name", help="Of the prompt in the library, such as shop/reply. Default: the task's."),
]
NoRegisterOption = Annotated[
    bool, typer.Option("--no-register", help="Leave the library alone: only make the run.")
]
REGISTERING: Mapping[str, tuple[Any, Any]] = {
    "library": (LibraryOption, None),
    "name": (NameOption, None),
    "no_register": (NoRegisterOption, False),
}
"""Options of commands that make a run, by name: type and default."""


@dataclass(frozen=True, slots=True)
class Registering:
    """What was asked of the library by who makes a run."""

    library: str | None = None
    name: str | None = None
    no_register: bool = False

    def __post_init__(self) -> None:
        from tuningfork.library.naming import check_name

        # Told before hours of training, not after them.
        if self.name is not None:
            check_name(self.name)

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Registering":
        """What the options of a command say.

        Raises:
            LibraryError: if the name is none.
        """
        return cls(**{name: given[name] for name in REGISTERING})

    def register(self, run: Path, *, runs: Path) -> "VersionRecord | None":
        """Register the finished run; where that fails the run stays, and one line says how to do it by hand.

        The library lies beside `runs` if nothing else is said.
        """
        if self.no_register:
            return None
        from tuningfork.library.places import LibraryPlace
        from tuningfork.library.sign_in import sign_in
        from tuningfork.recipes.register import register_run

        place = LibraryPlace.of(self.library, runs=runs)
        try:
            with sign_in(place.open()) as library:
                return register_run(library, run, author=actor_name(None, library), name=self.name)
        except (TuningForkError, OSError) as error:
            by_hand = f"tuningfork library register {run} --library {place}"
            if self.name is not None:
                by_hand += f" --name {self.name}"
            typer.echo(f"Not registered ({error}); the run is whole, register it with: {by_hand}", err=True)
            return None
