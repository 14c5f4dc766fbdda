"""`tuningfork init`."""

from pathlib import Path
from typing import Annotated

import typer

from tuningfork.cli.options import InputOption, SkipOption, SplitOption, TargetOption, TestOption


def init(
    source: Annotated[
        str, typer.Argument(help="Examples: .jsonl, .json, .csv, .tsv, .parquet, a dataset folder or name.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Task file to write. Default: beside the examples.")
    ] = None,
    inputs: InputOption = None,
    target: TargetOption = None,
    test: TestOption = None,
    split: SplitOption = None,
    skip_bad_rows: SkipOption = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the task file if it exists.")] = False,
) -> None:
    """Look at examples and write a task file: type, prompt, labels, metric."""
    from rich.console import Console

    from tuningfork.cli.progress import ProgressSink
    from tuningfork.recipes.columns import named_columns
    from tuningfork.recipes.task_file import draft_task_file

    console = Console()
    with ProgressSink(console) as sink:
        task, path = draft_task_file(
            source,
            sink=sink,
            columns=named_columns(inputs, target),
            test=test,
            split=split,
            skip_bad_rows=skip_bad_rows,
            output=output,
            overwrite=force,
        )
    for line in (
        f"Task      {task.name} ({task.type}, {task.metric}), saved as {path}",
        f"Next      tuningfork tune {path}",
    ):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
