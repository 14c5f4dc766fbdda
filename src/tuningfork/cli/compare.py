"""`tuningfork compare`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from tuningfork.cli.remote_options import (
    ApiKeyOption,
    InsecureOption,
    MaxCallsOption,
    OtherApiBaseOption,
    OtherApiModelOption,
    check_key_is_set,
)
from tuningfork.cli.tune import TRAINING, refuse_options_of_the_run, task_of
from tuningfork.errors import TaskError

if TYPE_CHECKING:
    from tuningfork.library.comparison_folder import ComparisonOptions, RemoteOptions

DEFAULT_CURVE_SIZES = (8, 16, 32)

_SHARED = (
    "methods",
    "placements",
    "initializations",
    "objective",
    "label_smoothing",
    "head",
    "num_virtual_tokens",
    "batch_size",
    "micro_batch_size",
    "bank_size",
    "schedule",
    "validate_every",
    "patience",
    "checkpoint_every",
    "seed",
    "refit",
    "num_folds",
    "num_repeats",
    "context_cache_mb",
    "gradient_checkpointing",
    "dtype",
    "quantize",
)
_SETTINGS: Mapping[str, tuple[Any, Any]] = {name: TRAINING[name] for name in _SHARED} | {
    "num_seeds": (
        Annotated[
            int,
            typer.Option(
                "--seeds",
                "--num-seeds",
                help="Trainings of the best setting of each contestant; all are tested.",
                min=1,
                rich_help_panel="Training",
            ),
        ],
        5,
    ),
    "max_steps": (training.StepsOption, 40),
}
"""Options of `tune` that are the same for all contestants. Each searches learning rates of its own.

Many are compared at once, so each has fewer steps than where one is tuned: few rows are learned in 10 to 40.
"""

_REMOTE: Mapping[str, tuple[Any, Any]] = {
    "api_model": (OtherApiModelOption, None),
    "api_base": (OtherApiBaseOption, None),
    "api_key_env": (ApiKeyOption, None),
    "allow_insecure": (InsecureOption, False),
    "max_calls": (MaxCallsOption, None),
}
"""A model behind an API that takes part."""

_MACHINE: Mapping[str, tuple[Any, Any]] = {
    "jobs": (
        Annotated[
            int | None,
            typer.Option(
                "--jobs",
                help="Contestants made at once, each on its share of the cores. Default: as many as the "
                "machine has cores and memory for; 1 on a GPU.",
                min=1,
            ),
        ],
        None,
    ),
}
"""How the machine is used, which changes no result."""

PricesOption = Annotated[
    Path | None, typer.Option("--prices", help="What you pay, as YAML: money for 1,000 calls.")
]


def _sizes(given: str | None) -> str | None:
    """Check numbers with commas between."""
    for size in (given or "").split(",") if given else ():
        if not size.strip().isdecimal() or int(size) < 4:
            raise typer.BadParameter(f"expected numbers from 4 up with commas between, found {given!r}")
    return given


@takes({**_SETTINGS, **_REMOTE, **_MACHINE})
def compare(
    context: typer.Context,
    source: Annotated[
        str | None,
        typer.Argument(help="A task file, a folder with a task.yaml, or examples: .jsonl, .csv, ..."),
    ] = None,
    contestants: Annotated[
        list[str] | None,
        typer.Option(
            "--contestant",
            "-c",
            help="Who takes part; repeat for several: no_prompt, text_prompt, few_shot, soft_prompts, lora, "
            "full_fine_tuning, classical, remote. Default: all, remote with --api-model.",
        ),
    ] = None,
    model: ModelOption = "bundled",
    budget: Annotated[
        float | None,
        typer.Option(
            "--budget", help="Seconds that each contestant may take to choose and train.", min=0.001
        ),
    ] = None,
    prices: PricesOption = None,
    curves: Annotated[
        bool, typer.Option("--curves", help="Learning curves: train all on fewer examples, too.")
    ] = False,
    curve_sizes: Annotated[
        str | None,
        typer.Option("--curve-sizes", help="Numbers of examples. Default: 8,16,32.", callback=_sizes),
    ] = None,
    test: TestOption = None,
    inputs: InputOption = None,
    target: TargetOption = None,
    runs: Annotated[Path, typer.Option("--runs", help="Folder that holds the comparison.")] = Path("runs"),
    resume: Annotated[
        Path | None, typer.Option("--resume", help="Go on with this unfinished comparison.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read, check and split the data, print the plan, and stop.")
    ] = False,
    skip_bad_rows: SkipOption = False,
    limit: training.LimitOption = None,
    split: SplitOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    trust_code: TrustOption = False,
    **settings: Any,
) -> None:
    """Compare ways of adapting a model: words, soft prompts, weights; with a verdict and what each costs."""
    given = dict(locals()) | settings
    if (source is None) == (resume is None):
        raise TaskError("give either a task to start a comparison, or --resume FOLDER to go on with one")
    if resume is not None:
        refuse_options_of_the_run(context)
        from tuningfork.cli.comparing import resume_comparison

        resume_comparison(resume, as_json=as_json)
        return
    assert source is not None
    _start(source, given)


def _start(source: str, given: dict[str, Any]) -> None:
    options, is_dry_run, as_json = _options_of(given), given["dry_run"], given["as_json"]
    task = task_of(
        source,
        options.tuning,
        columns=(given["inputs"], given["target"]),
        test=given["test"],
        is_dry_run=is_dry_run,
        as_json=as_json,
    )
    # Only now: torch and transformers take seconds to load, and wrong data is told at once.
    from tuningfork.cli.comparing import start_comparison

    start_comparison(task, options, runs=given["runs"], is_dry_run=is_dry_run, as_json=as_json)


def _options_of(given: dict[str, Any]) -> "ComparisonOptions":
    from tuningfork.library.comparison_folder import ComparisonOptions
    from tuningfork.library.run_records import TuneOptions

    if given["curve_sizes"] and not given["curves"]:
        raise TaskError("--curve-sizes are those of --curves; add it, or leave them out")
    sizes = tuple(int(size) for size in (given["curve_sizes"] or "").split(",") if size)
    fields = {name: value for name, value in given.items() if name in TuneOptions.model_fields}
    fields |= {name: tuple(given[name] or ()) for name in ("methods", "placements", "num_virtual_tokens")}
    fields["initializations"] = tuple(given["initializations"] or TuneOptions().initializations)
    return ComparisonOptions(
        tuning=TuneOptions(**fields),
        contestants=tuple(given["contestants"] or ()),
        budget_seconds=given["budget"],
        remote=_remote_of(given),
        prices=None if given["prices"] is None else str(given["prices"].resolve()),
        jobs=given["jobs"],
        curve_sizes=(sizes or DEFAULT_CURVE_SIZES) if given["curves"] else (),
    )


def _remote_of(given: dict[str, Any]) -> "RemoteOptions | None":
    from tuningfork.library.comparison_folder import RemoteOptions

    model, base = given["api_model"], given["api_base"]
    if (model is None) != (base is None):
        raise TaskError("a model behind an API needs both --api-model and --api-base; give both, or neither")
    if model is None:
        return None
    check_key_is_set(given["api_key_env"])
    return RemoteOptions(
        model=model,
        base_url=base,
        key_variable=given["api_key_env"],
        allows_insecure=given["allow_insecure"],
        max_calls=given["max_calls"],
    )
