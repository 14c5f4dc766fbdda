"""`tuningfork export` and `tuningfork import`."""

from pathlib import Path
from typing import Annotated

import typer

from tuningfork.cli.options import ModelOption, MovedModelOption


def export_command(
    run_path: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Adapter folder to write.")],
    model: MovedModelOption = None,
) -> None:
    """Write the soft prompt of a run as a PEFT adapter folder."""
    from tuningfork.recipes.transfer import export_run

    written = export_run(run_path, output, model=model)
    load = "peft.PeftModel.from_pretrained"
    if not (written / "adapter").is_dir():
        typer.echo(f"Wrote {written}: load it with {load}(base, {str(written)!r})")
        return
    typer.echo(
        f"Wrote {written / 'adapter'}, the weights: "
        f"load them with base = {load}(base, {str(written / 'adapter')!r}).merge_and_unload()"
    )
    if (written / "prompt").is_dir():
        typer.echo(f"Wrote {written / 'prompt'}, the prompt: then {load}(base, {str(written / 'prompt')!r})")
    else:
        typer.echo("It was learned behind the text prompt of the task, which goes in front as it is")


def import_command(
    adapter: Annotated[Path, typer.Argument(help="PEFT adapter folder of a soft prompt.")],
    task: Annotated[Path, typer.Option("--task", help="Task file that says how rows are written.")],
    model: ModelOption = "bundled",
    runs: Annotated[Path, typer.Option("--runs", help="Folder that holds the runs.")] = Path("runs"),
    task_id: Annotated[
        int | None, typer.Option("--task-id", help="Which task of a multitask prompt to take.", min=0)
    ] = None,
) -> None:
    """Make a run of a PEFT adapter folder, to use like one tuned here."""
    from tuningfork.recipes.transfer import import_adapter
    from tuningfork.tasks.task import load_task

    folder = import_adapter(adapter, load_task(task), model=model, runs_folder=runs, task_id=task_id)
    typer.echo(f"Saved     {folder.path}")
    typer.echo(f'Try       tuningfork run {folder.path} "..."')
