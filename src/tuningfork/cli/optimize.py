"""`tuningfork optimize`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tuningfork.cli import training_options as training
from tuningfork.cli.options import (
    DeviceOption,
    InputOption,
    JsonOption,
    ModelOption,
    SkipOption,
    SplitOption,
    TargetOption,
    TestOption,
    TrustOption,
    takes,
)
from tuningfork.cli.registering import REGISTERING, Registering
from tuningfork.cli.remote_options import (
    ApiKeyOption,
    InsecureOption,
    OtherApiBaseOption,
    OtherApiModelOption,
    PricesOption,
)
from tuningfork.cli.tune import refuse_options_of_the_run, task_of
from tuningfork.errors import TaskError

if TYPE_CHECKING:
    from tuningfork.library.comparison_folder import RemoteOptions
    from tuningfork.library.optimization_folder import OptimizationOptions


def _search(*names: str, help: str, **settings: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel="Search", **settings)


def _propose(*names: str, help: str, **settings: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel="Who writes instructions", **settings)


SEARCH: Mapping[str, tuple[Any, Any]] = {
    "strategies": (
        Annotated[
            list[str] | None,
            _search(
                "--strategy",
                help="How to search; repeat for several, which share the budget: see docs/optimize.md. "
                "Default: nearest_demonstrations, edits.",
            ),
        ],
        None,
    ),
    "budget_calls": (
        Annotated[int, _search("--budget-calls", help="Metric calls: one prompt on one row.", min=1)],
        1000,
    ),
    "budget_seconds": (
        Annotated[float | None, _search("--budget-seconds", help="Of search and choice.", min=0.001)],
        None,
    ),
    "budget_money": (
        Annotated[
            float | None,
            _search("--budget-money", help="For models behind an API, in the currency of prices.", min=1e-6),
        ],
        None,
    ),
    "most_demonstrations": (
        Annotated[int, _search("--demonstrations", help="Training rows to show at most.", min=0)],
        8,
    ),
    "num_finalists": (
        Annotated[int, _search("--finalists", help="Prompts that validation rows choose from.", min=1)],
        4,
    ),
    "seed": (training.SeedOption, 0),
}
_PROPOSER: Mapping[str, tuple[Any, Any]] = {
    "proposer": (
        Annotated[
            Literal["rules", "model", "endpoint"],
            _propose(
                "--proposer",
                help="rules: edits, no model needed; model: the local one; endpoint: --proposer-model, or "
                "else --api-model.",
            ),
        ],
        "rules",
    ),
    "proposer_model": (
        Annotated[str | None, _propose("--proposer-model", help="Name of that model on its server.")],
        None,
    ),
    "proposer_base": (
        Annotated[
            str | None, _propose("--proposer-base", help="Its address, such as http://localhost:8000/v1.")
        ],
        None,
    ),
    "proposer_key_env": (
        Annotated[
            str | None,
            _propose("--proposer-key-env", help="NAME of the environment variable that holds its key."),
        ],
        None,
    ),
}
_REMOTE: Mapping[str, tuple[Any, Any]] = {
    "api_model": (OtherApiModelOption, None),
    "api_base": (OtherApiBaseOption, None),
    "api_key_env": (ApiKeyOption, None),
    "allow_insecure": (InsecureOption, False),
    "prices": (PricesOption, None),
}


@takes({**REGISTERING, **SEARCH, **_PROPOSER, **_REMOTE})
def optimize(
    context: typer.Context,
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[TASK]", help="A task file, a folder with a task.yaml, or examples: .jsonl, .csv, ..."
        ),
    ] = None,
    model: ModelOption = "bundled",
    test: TestOption = None,
    inputs: InputOption = None,
    target: TargetOption = None,
    runs: Annotated[Path, typer.Option("--runs", help="Folder that holds the search.")] = Path("runs"),
    resume: Annotated[Path | None, typer.Option("--resume", help="Go on with this search.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read, check and split the data, print the plan, and stop.")
    ] = False,
    skip_bad_rows: SkipOption = False,
    limit: training.LimitOption = None,
    split: SplitOption = None,
    device: DeviceOption = "auto",
    dtype: training.DtypeOption = "auto",
    quantize: training.QuantizeOption = "none",
    as_json: JsonOption = False,
    trust_code: TrustOption = False,
    **settings: Any,
) -> None:
    """Find a better text prompt: search, choose on validation, prove on test, save."""
    given = dict(locals()) | settings
    if (source is None) == (resume is None):
        raise TaskError("give either a task to start a search, or --resume FOLDER to go on with one")
    if resume is not None:
        refuse_options_of_the_run(context)
        from tuningfork.cli.optimizing import resume_search

        resume_search(resume, registering=Registering.of(given), as_json=as_json)
        return
    assert source is not None
    _start(source, given)


def _start(source: str, given: dict[str, Any]) -> None:
    options, is_dry_run, as_json = _options_of(given), given["dry_run"], given["as_json"]
    registering = Registering.of(given)
    task = task_of(
        source,
        options.tuning,
        columns=(given["inputs"], given["target"]),
        test=given["test"],
        is_dry_run=is_dry_run,
        as_json=as_json,
    )
    # Only now: torch and transformers take seconds to load, and wrong data is told at once.
    from tuningfork.cli.optimizing import start_search

    start_search(
        task,
        options,
        runs=given["runs"],
        registering=registering,
        is_dry_run=is_dry_run,
        as_json=as_json,
    )


def _options_of(given: dict[str, Any]) -> "OptimizationOptions":
    from tuningfork.library.optimization_folder import OptimizationOptions
    from tuningfork.library.run_records import TuneOptions

    tuning = {name: value for name, value in given.items() if name in TuneOptions.model_fields}
    remote = _remote_of(given, "api")
    proposer = _remote_of(given, "proposer")
    if proposer is not None and given["proposer"] != "endpoint":
        raise TaskError("--proposer-model is asked with --proposer endpoint; add it, or leave the model out")
    if given["budget_money"] is not None and remote is None and proposer is None:
        raise TaskError(
            "--budget-money limits what models behind an API cost, and none takes part; leave it out, or "
            "name one with --api-model and --api-base"
        )
    return OptimizationOptions(
        tuning=TuneOptions(**tuning, refit="no"),
        strategies=tuple(given["strategies"] or ()),
        proposer=given["proposer"],
        proposer_remote=proposer,
        remote=remote,
        prices=None if given["prices"] is None else str(given["prices"].resolve()),
        budget_calls=given["budget_calls"],
        budget_seconds=given["budget_seconds"],
        budget_money=given["budget_money"],
        most_demonstrations=given["most_demonstrations"],
        num_finalists=given["num_finalists"],
    )


def _remote_of(given: dict[str, Any], which: str) -> "RemoteOptions | None":
    from tuningfork.library.comparison_folder import RemoteOptions

    model, base = given[f"{which}_model"], given[f"{which}_base"]
    if (model is None) != (base is None):
        raise TaskError(
            f"a model behind an API needs both --{which}-model and --{which}-base; give both, or neither"
        )
    if model is None:
        return None
    return RemoteOptions(
        model=model,
        base_url=base,
        key_variable=given[f"{which}_key_env"],
        allows_insecure=given["allow_insecure"],
    )
