"""`tuningfork run`."""

import json
from typing import Annotated

import typer

from tuningfork.cli.library.options import LibraryOption
from tuningfork.cli.options import DeviceOption, JsonOption, MovedModelOption, RunArgument, pairs
from tuningfork.cli.run_names import run_path
from tuningfork.errors import DataError


def run(
    run_name: RunArgument,
    text: Annotated[str | None, typer.Argument(help="The input; read from standard input if '-'.")] = None,
    variables: Annotated[
        list[str] | None,
        typer.Option("--input", "-i", help="name=value, for a task with several inputs; repeat."),
    ] = None,
    model: MovedModelOption = None,
    device: DeviceOption = "auto",
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Answer one input with the prompt of a run, or of a version in the library."""
    given = pairs(variables, "--input")
    if (text is None) == (not given):
        raise DataError(
            'give the input as text: tuningfork run RUN "..." (or --input name=value for each variable)'
        )
    if text == "-":
        text = typer.get_text_stream("stdin").read().strip()
    path = run_path(run_name, library)
    from tuningfork.recipes.loaded_run import load_run

    prediction = load_run(path, model=model, device=device).answer(text if text is not None else given)
    if as_json:
        typer.echo(json.dumps(prediction.fields(), ensure_ascii=False))
        return
    if prediction.tagged is not None:
        for word in prediction.tagged:
            typer.echo(f"{word.word}\t{word.tag}")
        return
    typer.echo(prediction.text)
    if prediction.probabilities is not None:
        ranked = sorted(prediction.probabilities.items(), key=lambda pair: -pair[1])
        typer.echo("  ".join(f"{label} {share:.2f}" for label, share in ranked[:5]), err=True)
