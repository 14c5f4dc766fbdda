"""Options that several commands take, so that they read the same everywhere."""

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from tuningfork.errors import DataError

ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="Base model: 'bundled', a folder, or a Hugging Face name such as Qwen/Qwen2.5-0.5B-Instruct.",
    ),
]
MovedModelOption = Annotated[
    str | None, typer.Option("--model", "-m", help="Where the run's base model lies now, if it has moved.")
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or another torch device.")]
RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="Run folder, or a version in the library: reply@production.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
SkipOption = Annotated[
    bool,
    typer.Option(
        "--skip-bad-rows", help="Leave out rows that cannot be used and say which, instead of stopping."
    ),
]
InputOption = Annotated[
    list[str] | None,
    typer.Option("--input", "-i", help="Column that is an input; repeat for several. Default: guessed."),
]
TargetOption = Annotated[
    str | None, typer.Option("--target", "-t", help="Column with the right answer. Default: guessed.")
]
TestOption = Annotated[str | None, typer.Option("--test", help="A test set of your own.")]


def _trust(context: typer.Context, is_trusted: bool) -> bool:
    """Trust code for as long as the command runs."""
    from tuningfork.tasks.custom_metrics import trusting_code

    context.with_resource(trusting_code(is_trusted))
    return is_trusted


TrustOption = Annotated[
    bool,
    typer.Option(
        "--trust-code",
        callback=_trust,
        help="Import and run the metrics of your own that a task file names. Or: TUNINGFORK_TRUST_CODE=1.",
    ),
]
TrustAssertionsOption = Annotated[
    bool, typer.Option("--trust-code", help="Run Python code that assertions name.")
]
SplitOption = Annotated[
    str | None, typer.Option("--split", help="Split of a Hugging Face dataset to read. Default: train.")
]


def pairs(values: list[str] | None, option: str) -> dict[str, str]:
    """`name=value` texts as a mapping.

    Raises:
        DataError: if a text has no `=`.
    """
    found = {}
    for value in values or []:
        name, is_pair, text = value.partition("=")
        if not is_pair:
            raise DataError(
                f"{option} {value!r}: expected name=value, as in {option} message='Do you have oat milk?'"
            )
        found[name.strip()] = text
    return found


def takes(options: Mapping[str, tuple[Any, Any]]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let a command that ends in `**settings` take `options`, each a type and a default, by their names."""

    def changed(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True)
        kept = [p for p in own.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        added = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
            for name, (kind, default) in options.items()
        ]
        # What typer reads; the command itself finds these among its settings.
        command.__signature__ = own.replace(parameters=[*kept, *added])  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in (*kept, *added)}
        return command

    return changed
