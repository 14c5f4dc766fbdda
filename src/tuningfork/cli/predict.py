"""`tuningfork predict`."""

import time
from pathlib import Path
from typing import Annotated

import typer

from tuningfork.cli.library.options import LibraryOption
from tuningfork.cli.options import DeviceOption, MovedModelOption, SkipOption
from tuningfork.cli.run_names import run_path
from tuningfork.errors import DataError
from tuningfork.types import Combine

CombineOption = Annotated[
    Combine | None,
    typer.Option(
        "--combine", help="How several answer: mean of labels' probabilities (default there), or vote."
    ),
]


def predict(
    run_or_source: Annotated[
        str, typer.Argument(metavar="[RUN]", help="Run folder, or a version; none with --prompts.")
    ],
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="SOURCE", help="Rows to answer: .jsonl, .csv, .parquet, a dataset folder or name."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write (.jsonl). Default: standard output.")
    ] = None,
    prompts: Annotated[
        str | None,
        typer.Option("--prompts", help="Runs or versions that answer together, between commas: RUN_A,RUN_B."),
    ] = None,
    combine: CombineOption = None,
    model: MovedModelOption = None,
    device: DeviceOption = "auto",
    library: LibraryOption = None,
    skip_bad_rows: SkipOption = False,
) -> None:
    """Answer every row of a file; each row comes back with a prediction."""
    runs, rows = _runs_and_rows(run_or_source, source, prompts)
    if output is not None and output.suffix != ".jsonl":
        raise DataError(f"{output}: predictions are written as .jsonl; give a name that ends so")
    from rich.console import Console

    from tuningfork.atomic import replacing
    from tuningfork.cli.progress import ProgressSink
    from tuningfork.events import StageAdvanced, StageFinished, StageStarted
    from tuningfork.recipes.loaded_run import load_runs

    started = time.perf_counter()
    console = Console(stderr=True)
    with ProgressSink(console) as sink:
        paths = [run_path(run, library) for run in runs]
        loaded = load_runs(paths, combine=combine, model=model, device=device, sink=sink)
        lines = loaded.predict_file(rows, skip_bad_rows=skip_bad_rows, sink=sink)
        if output is None:
            for line in lines:
                typer.echo(line)
            return
        sink.emit(StageStarted("predict", None, "rows"))
        count = 0
        with replacing(output) as temporary, temporary.open("w", encoding="utf-8") as file:
            for count, line in enumerate(lines, start=1):
                file.write(line + "\n")
                sink.emit(StageAdvanced("predict", count))
        sink.emit(StageFinished("predict", time.perf_counter() - started))
    console.print(
        f"Wrote {count} predictions to {output} in {time.perf_counter() - started:.1f} s",
        highlight=False,
        markup=False,
    )


def _runs_and_rows(first: str, second: str | None, prompts: str | None) -> tuple[list[str], str]:
    """The runs that answer, and where the rows are."""
    if prompts is None:
        if second is None:
            raise DataError(
                f"nothing to answer with, or no rows: found only {first!r}; give a run and rows, or "
                "--prompts RUN_A,RUN_B and rows"
            )
        return [first], second
    if second is not None:
        raise DataError(
            f"--prompts names the runs, so only rows are expected; found {first!r} and {second!r}"
        )
    named = [name.strip() for name in prompts.split(",") if name.strip()]
    if not named:
        raise DataError("--prompts: expected run folders between commas, found none")
    return named, first
