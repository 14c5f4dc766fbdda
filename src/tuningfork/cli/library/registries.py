"""Which registry a command means, and how it is opened."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from tuningfork.errors import LibraryError

if TYPE_CHECKING:
    from tuningfork.library.exchange.registry import Registry

MlflowOption = Annotated[
    str | None,
    typer.Option(
        "--mlflow",
        metavar="URL",
        help="MLflow server. Keys: MLFLOW_TRACKING_TOKEN, or ..._USERNAME and ..._PASSWORD.",
    ),
]
LangfuseOption = Annotated[
    str | None,
    typer.Option(
        "--langfuse",
        metavar="URL",
        help="Langfuse server. Keys: LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY.",
    ),
]
InsecureOption = Annotated[
    bool, typer.Option("--insecure", help="Allow plain http to another machine; keys can be read on the way.")
]


def check_one(**places: object | None) -> None:
    """Check that exactly one of the places is named.

    Raises:
        LibraryError: if not.
    """
    named = [name for name, place in places.items() if place is not None]
    if len(named) != 1:
        options = ", ".join(f"--{name}" for name in places)
        raise LibraryError(f"name one place, by one of {options}; found {len(named)}")


@contextmanager
def registry_at(mlflow: str | None, langfuse: str | None, *, insecure: bool) -> "Iterator[Registry]":
    """The registry that the options name, closed behind the block.

    Raises:
        RemoteError: if the address is none, or keys are missing.
    """
    registry: Registry
    if mlflow is not None:
        from tuningfork.library.exchange.mlflow import MlflowRegistry

        registry = MlflowRegistry(mlflow, allows_insecure=insecure)
    else:
        from tuningfork.library.exchange.langfuse import LangfuseRegistry

        registry = LangfuseRegistry(langfuse or "", allows_insecure=insecure)
    try:
        yield registry
    finally:
        registry.close()
