"""`tuningfork compose`."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tuningfork.cli.options import DeviceOption, JsonOption, MovedModelOption, TrustOption, takes
from tuningfork.cli.registering import REGISTERING, Registering
from tuningfork.cli.run_names import run_path
from tuningfork.errors import PromptError
from tuningfork.types import Combine, Composition


@takes(REGISTERING)
def compose(
    how: Annotated[
        Composition,
        typer.Argument(metavar="HOW", help="concatenate, average, or ensemble (they answer together)."),
    ],
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Run folders or versions, of one base model.")
    ],
    task: Annotated[Path, typer.Option("--task", help="Task file whose test rows the result is proven on.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Run folder to make.")],
    weights: Annotated[
        str | None, typer.Option("--weights", help="Shares of an average: 0.3,0.7. Default: equal.")
    ] = None,
    combine: Annotated[
        Combine | None,
        typer.Option("--combine", help="How an ensemble answers: mean (default for labels) or vote."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check that it can be composed, print the plan, and stop.")
    ] = False,
    model: MovedModelOption = None,
    device: DeviceOption = "auto",
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"] | None,
        typer.Option("--dtype", help="Number format of the base. Default: the first run's."),
    ] = None,
    as_json: JsonOption = False,
    trust_code: TrustOption = False,
    **settings: Any,
) -> None:
    """Make a new prompt of finished ones, without training, and prove it on a task's test rows."""
    shares = None if weights is None else _shares(weights)
    registering = Registering.of(settings)
    paths = [run_path(run, registering.library) for run in runs]
    from rich.console import Console

    from tuningfork.cli.progress import ProgressSink
    from tuningfork.cli.tuning import print_run
    from tuningfork.recipes.compose import Request, compose_runs, plan_composition
    from tuningfork.tasks.task import load_task

    request = Request(
        how, paths, load_task(task), weights=shares, combine=combine, model=model, device=device, dtype=dtype
    )
    console = Console(stderr=as_json)
    with ProgressSink(console) as sink:
        if dry_run:
            plan_composition(request, sink=sink)
            return
        folder = compose_runs(request, output, sink=sink)
    # Beside the parts, if they are folders: the new one may lie anywhere.
    beside = paths[0].parent if paths[0] == Path(runs[0]) else Path("runs")
    version = registering.register(folder.path, runs=beside)
    print_run(console, folder, version, as_json=as_json)


def _shares(text: str) -> list[float]:
    try:
        return [float(share) for share in text.split(",")]
    except ValueError:
        raise PromptError(f"--weights: expected numbers between commas, found {text!r}") from None
