"""`tuningfork export` and `tuningfork import`."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from tuningfork.cli.library.options import LibraryOption
from tuningfork.cli.options import JsonOption, ModelOption, MovedModelOption, RunArgument, takes
from tuningfork.cli.registering import REGISTERING, Registering
from tuningfork.cli.run_names import run_path
from tuningfork.errors import FormatError


class FormatName(StrEnum):
    """Whose format a prompt is in."""

    PEFT = "peft"
    NPY = "npy"
    CAIKIT = "caikit"


def export_command(
    run_name: RunArgument,
    place: Annotated[
        Path | None, typer.Argument(metavar="OUT", help="Folder to write (peft, caikit), or file (npy).")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The same as OUT, by name.")] = None,
    format_name: Annotated[
        FormatName,
        typer.Option("--format", "-f", help="peft (a folder), npy (one array) or caikit (a folder of .pt)."),
    ] = FormatName.PEFT,
    peft_type: Annotated[
        str | None,
        typer.Option(
            "--peft-type",
            help="P_TUNING, MULTITASK_PROMPT_TUNING, CPT or CARTRIDGE. "
            "Default: PROMPT_TUNING, for keys and values PREFIX_TUNING.",
        ),
    ] = None,
    model: MovedModelOption = None,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the soft prompt of a run for another library: a PEFT folder, a NumPy array or caikit's .pt."""
    if (place is None) == (output is None):
        raise FormatError("say once where to write: tuningfork export RUN OUT")
    target = place or output
    assert target is not None
    path = run_path(run_name, library)
    from tuningfork.recipes.transfer import export_run

    written = export_run(path, target, model=model, format=format_name.value, peft_type=peft_type)
    if as_json:
        typer.echo(json.dumps({"path": str(written), "format": format_name.value}))
        return
    typer.echo(_how_to_load(written, format_name))


@takes(REGISTERING)
def import_command(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="PATH", help="PEFT folder, .npy file, or folder with decoder.pt or encoder.pt."
        ),
    ],
    task: Annotated[Path, typer.Option("--task", help="Task file that says how rows are written.")],
    model: ModelOption = "bundled",
    runs: Annotated[Path, typer.Option("--runs", help="Folder that holds the runs.")] = Path("runs"),
    format_name: Annotated[
        FormatName | None, typer.Option("--format", "-f", help="peft, npy or caikit. Default: found out.")
    ] = None,
    task_index: Annotated[
        int | None,
        typer.Option("--task-index", "--task-id", help="Which task of a multitask prompt to take.", min=0),
    ] = None,
    as_json: JsonOption = False,
    **settings: Any,
) -> None:
    """Make a run of a soft prompt from another library, to use like one tuned here."""
    registering = Registering.of(settings)
    from tuningfork.recipes.transfer import import_prompt
    from tuningfork.tasks.task import load_task

    made = import_prompt(
        source,
        load_task(task, imports_code=False),
        model=model,
        runs_folder=runs,
        format=format_name.value if format_name else None,
        task_index=task_index,
    )
    version = registering.register(made.folder.path, runs=runs)
    if as_json:
        described = {
            "path": str(made.folder.path),
            "format": made.format,
            "origin": made.origin,
            "num_virtual_tokens": made.num_virtual_tokens,
            "warnings": made.warnings,
            "version": None if version is None else version.reference,
        }
        typer.echo(json.dumps(described))
        return
    for warning in made.warnings:
        typer.echo(f"Note      {warning}", err=True)
    typer.echo(f"Saved     {made.folder.path}")
    if version is not None:
        typer.echo(f"Version   {version.reference} in the library")
    typer.echo(f'Try       tuningfork run {made.folder.path} "..."')


def _how_to_load(written: Path, format_name: FormatName) -> str:
    load, adapter, prompt = "peft.PeftModel.from_pretrained", written / "adapter", written / "prompt"
    if format_name is not FormatName.PEFT:
        return f"Wrote {written}"
    if not adapter.is_dir():
        return f"Wrote {written}: load it with {load}(base, {str(written)!r})"
    lines = [
        f"Wrote {adapter}, the weights: "
        f"load them with base = {load}(base, {str(adapter)!r}).merge_and_unload()"
    ]
    if prompt.is_dir():
        lines.append(f"Wrote {prompt}, the prompt: then {load}(base, {str(prompt)!r})")
    else:
        lines.append("It was learned behind the text prompt of the task, which goes in front as it is")
    return "\n".join(lines)
