"""`tuningfork instruct`."""

from pathlib import Path
from typing import Annotated

import typer

from tuningfork.cli import training_options as training
from tuningfork.cli.options import DeviceOption, JsonOption, ModelOption, SkipOption, TrustOption
from tuningfork.cli.tune_shared import DryRunOption, SamplingOption, TasksArgument
from tuningfork.errors import TaskError

DEFAULT_RANK = 16
OutputOption = Annotated[
    Path, typer.Option("--output", "-o", help="Folder of the tuned model; it must not exist.")
]


def instruct(
    tasks: TasksArgument,
    output: OutputOption,
    model: ModelOption = "bundled",
    full: Annotated[
        bool, typer.Option("--full", help="Train all weights. Default: LoRA, merged at the end.")
    ] = False,
    prompts: Annotated[
        list[Path] | None,
        typer.Option("--prompt", help="A run whose soft prompt stands before its task's rows; repeat."),
    ] = None,
    sampling: SamplingOption = "proportional",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what is unfinished beside --output.")
    ] = False,
    dry_run: DryRunOption = False,
    skip_bad_rows: SkipOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    trust_code: TrustOption = False,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            "--lr",
            help="Peak learning rate. Default: 0.001 for LoRA, 0.0001 for all weights.",
            min=1e-9,
            rich_help_panel="Training",
        ),
    ] = None,
    lora_rank: training.LoraRankOption = None,
    lora_alpha: training.LoraAlphaOption = None,
    lora_targets: training.LoraTargetOption = None,
    max_steps: training.StepsOption = 100,
    batch_size: training.BatchOption = 16,
    micro_batch_size: training.MicroBatchOption = 16,
    schedule: training.ScheduleOption = "linear",
    validate_every: training.ValidateOption = 10,
    patience: training.PatienceOption = 5,
    checkpoint_every: training.CheckpointOption = 10,
    seed: training.SeedOption = 0,
) -> None:
    """Instruction-tune a copy of a base model on the training rows of a folder of tasks."""
    given = dict(locals())
    if full and (lora_rank or lora_alpha or lora_targets):
        raise TaskError("--full trains all weights, --lora-rank and its kind some; give one or the other")
    from tuningfork.cli.instructing import start
    from tuningfork.library.run_records import TuneOptions
    from tuningfork.recipes.instruct import Instruction

    fields = {name: value for name, value in given.items() if name in TuneOptions.model_fields}
    fields["learning_rates"] = () if learning_rate is None else (learning_rate,)
    fields["lora_rank"] = None if full else lora_rank or DEFAULT_RANK
    fields["lora_targets"] = tuple(lora_targets or ())
    start(
        Instruction(tasks, output, sampling, tuple(prompts or ()), resume),
        TuneOptions(**fields),
        is_dry_run=dry_run,
        as_json=as_json,
    )
