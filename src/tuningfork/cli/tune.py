"""`tuningfork tune`."""

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
from tuningfork.cli.registering import REGISTERING, Registering
from tuningfork.cli.run_names import run_path
from tuningfork.errors import TaskError

if TYPE_CHECKING:
    from tuningfork.library.run_records import TuneOptions
    from tuningfork.tasks.task import Task

SourceArgument = Annotated[
    str | None,
    typer.Argument(help="A task file (.yaml), or examples: .jsonl, .csv, .tsv, .parquet, a dataset name."),
]
RunsOption = Annotated[Path, typer.Option("--runs", help="Folder that holds the runs.")]
ResumeOption = Annotated[Path | None, typer.Option("--resume", help="Go on with this unfinished run.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Read, check and split the data, print the plan, and stop.")
]


TRAINING: Mapping[str, tuple[Any, Any]] = {
    "methods": (training.MethodOption, None),
    "learning_rates": (training.RateOption, None),
    "placements": (training.PlacementOption, None),
    "initializations": (training.StartOption, None),
    "start_from": (training.StartFromOption, None),
    "objective": (training.ObjectiveOption, "auto"),
    "label_smoothing": (training.SmoothingOption, 0.0),
    "head": (training.HeadOption, False),
    "num_virtual_tokens": (training.LengthOption, None),
    "max_steps": (training.StepsOption, 100),
    "batch_size": (training.BatchOption, 16),
    "micro_batch_size": (training.MicroBatchOption, 16),
    "bank_size": (training.BankOption, 8),
    "schedule": (training.ScheduleOption, "linear"),
    "validate_every": (training.ValidateOption, 10),
    "patience": (training.PatienceOption, 5),
    "checkpoint_every": (training.CheckpointOption, 10),
    "seed": (training.SeedOption, 0),
    "num_seeds": (training.SeedsOption, 3),
    "num_searched_seeds": (training.SearchedSeedsOption, 1),
    "ensemble": (training.EnsembleOption, False),
    "refit": (training.RefitOption, "auto"),
    "num_folds": (training.FoldsOption, 3),
    "num_repeats": (training.RepeatsOption, 1),
    "lora_rank": (training.LoraRankOption, None),
    "lora_alpha": (training.LoraAlphaOption, None),
    "lora_learning_rates": (training.LoraRateOption, None),
    "lora_targets": (training.LoraTargetOption, None),
    "lora_alone": (training.LoraAloneOption, False),
    "context_cache_mb": (training.ContextCacheOption, 1024),
    "gradient_checkpointing": (training.CheckpointingOption, False),
    "dtype": (training.DtypeOption, "auto"),
    "quantize": (training.QuantizeOption, "none"),
}
"""Options that shape the training, by name: type and default."""


@takes({**REGISTERING, **TRAINING})
def tune(
    context: typer.Context,
    source: SourceArgument = None,
    model: ModelOption = "bundled",
    test: TestOption = None,
    inputs: InputOption = None,
    target: TargetOption = None,
    runs: RunsOption = Path("runs"),
    resume: ResumeOption = None,
    dry_run: DryRunOption = False,
    skip_bad_rows: SkipOption = False,
    limit: training.LimitOption = None,
    split: SplitOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    trust_code: TrustOption = False,
    **settings: Any,
) -> None:
    """Tune a prompt: search, choose on validation, prove on test, save."""
    given = dict(locals()) | settings
    if (source is None) == (resume is None):
        raise TaskError(
            "give either a task file or examples to start a run, or --resume RUN to go on with one"
        )
    if resume is not None:
        refuse_options_of_the_run(context)
        from tuningfork.cli.tuning import resume_run

        resume_run(resume, registering=Registering.of(given), as_json=as_json)
        return
    assert source is not None
    _start(source, given)


def _start(source: str, given: dict[str, Any]) -> None:
    options, is_dry_run, as_json = _options_of(given), given["dry_run"], given["as_json"]
    registering = Registering.of(given)
    columns = (given["inputs"], given["target"])
    task = task_of(
        source, options, columns=columns, test=given["test"], is_dry_run=is_dry_run, as_json=as_json
    )
    # Only now: torch and transformers take seconds to load, and wrong data is told at once.
    from tuningfork.cli.tuning import start_run

    start_run(
        task,
        options,
        runs=given["runs"],
        registering=registering,
        is_dry_run=is_dry_run,
        as_json=as_json,
    )


def _options_of(given: dict[str, Any]) -> "TuneOptions":
    from tuningfork.library.run_records import TuneOptions

    fields = {name: value for name, value in given.items() if name in TuneOptions.model_fields}
    several = (
        "methods",
        "learning_rates",
        "placements",
        "num_virtual_tokens",
        "lora_learning_rates",
        "lora_targets",
    )
    if fields["start_from"] is not None:
        # A run may be resumed from another folder.
        fields["start_from"] = str(run_path(fields["start_from"], given["library"]).resolve())
    fields["initializations"] = tuple(given["initializations"] or TuneOptions().initializations)
    return TuneOptions(**fields | {name: tuple(given[name] or ()) for name in several})


def task_of(
    source: str,
    options: "TuneOptions",
    *,
    columns: tuple[list[str] | None, str | None],
    test: str | None,
    is_dry_run: bool,
    as_json: bool,
) -> "Task":
    """The task that `source` names or that is drafted for it; imports nothing heavy."""
    from rich.console import Console

    from tuningfork.cli.progress import ProgressSink
    from tuningfork.recipes.columns import named_columns
    from tuningfork.recipes.task_file import find_task
    from tuningfork.tuning.soft.defaults import check_method_name

    for method in options.methods:
        check_method_name(method)
    with ProgressSink(Console(stderr=as_json)) as sink:
        return find_task(
            source,
            sink=sink,
            columns=named_columns(*columns),
            test=test,
            split=options.split,
            skip_bad_rows=options.skip_bad_rows,
            is_dry_run=is_dry_run,
        )


def refuse_options_of_the_run(context: typer.Context) -> None:
    """Fail if the user gave an option that a resumed run would silently not follow."""
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if (
            name not in ("resume", "as_json", "trust_code", *REGISTERING)
            and source is not None
            and source.name == "COMMANDLINE"
        ):
            raise TaskError(
                f"--resume goes on with the options of the run; leave out {parameter.opts[0]}, "
                "or start a new run"
            )
