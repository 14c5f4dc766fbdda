"""`tuningfork predict`."""

import time
from pathlib import Path
from typing import Annotated

import typer

from tuningfork.cli.options import DeviceOption, MovedModelOption, SkipOption
from tuningfork.errors import DataError


def predict(
    run_path: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    source: Annotated[
        str, typer.Argument(help="Rows to answer: .jsonl, .csv, .parquet, a dataset folder or name.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write (.jsonl). Default: standard output.")
    ] = None,
    model: MovedModelOption = None,
    device: DeviceOption = "auto",
    skip_bad_rows: SkipOption = False,
) -> None:
    """Answer every row of a file; each row comes back with a prediction."""
    if output is not None and output.suffix != ".jsonl":
        raise DataError(f"{output}: predictions are written as .jsonl; give a name that ends so")
    from rich.console import Console

    from tuningfork.atomic import replacing
    from tuningfork.cli.progress import ProgressSink
    from tuningfork.events import StageAdvanced, StageFinished, StageStarted
    from tuningfork.recipes.loaded_run import load_run

    started = time.perf_counter()
    console = Console(stderr=True)
    with ProgressSink(console) as sink:
        loaded = load_run(run_path, model=model, device=device, sink=sink)
        lines = loaded.predict_file(source, skip_bad_rows=skip_bad_rows, sink=sink)
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
