"""`tuningfork predict`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tuningfork.cli.failures import UNUSABLE, line_of, tell
from tuningfork.cli.library.options import LibraryOption
from tuningfork.cli.options import (
    DeviceOption,
    JsonOption,
    MovedModelOption,
    SkipOption,
    TrustAssertionsOption,
)
from tuningfork.cli.output_files import check_can_be_written
from tuningfork.cli.run_names import run_path
from tuningfork.errors import DataError, TuningForkError
from tuningfork.types import Combine

CombineOption = Annotated[
    Combine | None,
    typer.Option(
        "--combine", help="How several answer: mean of labels' probabilities (default there), or vote."
    ),
]


CheckOption = Annotated[
    bool,
    typer.Option(
        "--check",
        help="Hold every answer against the task's assertions; exit code 0 if all pass, 1 if one fails, 2 if "
        "nothing could be checked.",
    ),
]
FailUnderOption = Annotated[
    float | None,
    typer.Option("--fail-under", min=0.0, max=1.0, help="With --check: share of answers that must pass."),
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
    check: CheckOption = False,
    fail_under: FailUnderOption = None,
    trust_code: TrustAssertionsOption = False,
    as_json: JsonOption = False,
) -> None:
    """Answer every row of a file; each row comes back with a prediction."""
    if not check:
        _predict(dict(locals()))
        return
    try:
        passes = _predict(dict(locals()))
    except (TuningForkError, OSError) as error:
        if (line := line_of(error)) is None:
            raise
        tell(line)
        raise typer.Exit(UNUSABLE) from None
    if not passes:
        raise typer.Exit(1)


def _predict(given: dict[str, Any]) -> bool:
    """Answer the rows, and say whether enough answers hold; without --check, they do."""
    output, fail_under, is_checked = given["output"], given["fail_under"], given["check"]
    runs, rows = _runs_and_rows(given["run_or_source"], given["source"], given["prompts"])
    if output is not None and output.suffix != ".jsonl":
        raise DataError(f"{output}: predictions are written as .jsonl; give a name that ends so")
    if output is not None:
        check_can_be_written(output)
    if fail_under is not None and not is_checked:
        raise DataError("--fail-under says how many answers must pass --check; add it, or leave this out")
    from rich.console import Console

    from tuningfork.cli.predicting import Destination, check_predictions, write_predictions
    from tuningfork.cli.progress import ProgressSink
    from tuningfork.recipes.checked_predictions import CheckedPredictions
    from tuningfork.recipes.loaded_run import load_runs

    destination = Destination(output, given["as_json"])
    with ProgressSink(Console(stderr=True)) as sink:
        paths = [run_path(run, given["library"]) for run in runs]
        loaded = load_runs(
            paths, combine=given["combine"], model=given["model"], device=given["device"], sink=sink
        )
        if not is_checked:
            write_predictions(loaded, rows, destination, sink, skip_bad_rows=given["skip_bad_rows"])
            return True
        return check_predictions(
            CheckedPredictions(loaded, trusted=given["trust_code"]),
            rows,
            destination,
            sink,
            skip_bad_rows=given["skip_bad_rows"],
            fail_under=1.0 if fail_under is None else fail_under,
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
