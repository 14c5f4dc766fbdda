"""`tuningfork tune-shared`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from tuningfork.cli import training_options as training
from tuningfork.cli.options import DeviceOption, JsonOption, ModelOption, SkipOption, TrustOption

TasksArgument = Annotated[
    Path,
    typer.Argument(metavar="TASKS", help="Folder of tasks: <name>.yaml, or folders with a task.yaml each."),
]
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="Folder to write; it must not exist.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with what is unfinished in --output.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Read, check and split the data, print the plan, and stop.")
]
SamplingOption = Annotated[
    Literal["proportional", "even"],
    typer.Option("--sampling", help="Draw tasks as often as they have rows, or all alike."),
]


def tune_shared(
    tasks: TasksArgument,
    output: OutputOption,
    model: ModelOption = "bundled",
    teachers: Annotated[
        list[Path] | None,
        typer.Option("--teacher", help="A finished run of one of the tasks, to be distilled; repeat."),
    ] = None,
    sampling: SamplingOption = "proportional",
    resume: ResumeOption = False,
    dry_run: DryRunOption = False,
    skip_bad_rows: SkipOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    trust_code: TrustOption = False,
    learning_rate: Annotated[
        float, typer.Option("--lr", help="Peak learning rate.", min=1e-9, rich_help_panel="Training")
    ] = 0.1,
    num_virtual_tokens: Annotated[
        int, typer.Option("--virtual-tokens", help="P.", min=1, rich_help_panel="Training")
    ] = 20,
    max_steps: training.StepsOption = 100,
    batch_size: training.BatchOption = 16,
    micro_batch_size: training.MicroBatchOption = 16,
    schedule: training.ScheduleOption = "linear",
    validate_every: training.ValidateOption = 10,
    patience: training.PatienceOption = 5,
    checkpoint_every: training.CheckpointOption = 10,
    seed: training.SeedOption = 0,
    dtype: training.DtypeOption = "auto",
) -> None:
    """Learn one prompt that several tasks share, for the prompt of another task to start from."""
    given = dict(locals())
    from tuningfork.cli.sharing import share
    from tuningfork.library.run_records import TuneOptions
    from tuningfork.recipes.tune_shared import Sharing

    fields = {name: value for name, value in given.items() if name in TuneOptions.model_fields}
    share(
        Sharing(tasks, output, sampling, tuple(teachers or ()), resume),
        TuneOptions(**fields, learning_rates=(learning_rate,)),
        is_dry_run=dry_run,
        as_json=as_json,
    )
