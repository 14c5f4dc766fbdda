"""Options of `tuningfork tune` that shape the training; shown in a panel of their own."""

import math
from typing import Annotated, Any, Literal, get_args

import typer

from tuningfork.tuning.soft.defaults import INITIALIZATIONS, Placement


def _training(*names: str, help: str, **settings: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel="Training", **settings)


def _above_zero(rates: list[float] | None) -> list[float] | None:
    for rate in rates or ():
        if not 0 < rate < math.inf:
            raise typer.BadParameter(f"a learning rate must be above 0, found {rate:g}")
    return rates


def _known_placements(placements: list[str] | None) -> list[str] | None:
    for placement in placements or ():
        if placement not in get_args(Placement):
            expected = ", ".join(get_args(Placement))
            raise typer.BadParameter(f"unknown placement {placement!r}; expected one of {expected}")
    return placements


def _known_starts(starts: list[str] | None) -> list[str] | None:
    for start in starts or ():
        if start not in INITIALIZATIONS:
            expected = ", ".join(INITIALIZATIONS)
            raise typer.BadParameter(f"unknown start {start!r}; expected one of {expected}")
    return starts


MethodOption = Annotated[
    list[str] | None,
    _training(
        "--method",
        help="A soft-prompt method; repeat for several. Default: prefix_tuning, prompt_tuning, idpg.",
    ),
]
RateOption = Annotated[
    list[float] | None,
    _training(
        "--lr", help="Learning rate to try; repeat for several. Default: by method.", callback=_above_zero
    ),
]
PlacementOption = Annotated[
    list[str] | None,
    _training(
        "--placement",
        help="Where virtual tokens stand: front (in place of the text), after_bos, suffix (behind the words "
        "of a row), both, markers ({{soft:8}} in the prompt); of encoder-decoder models: decoder (before "
        "it), encoder_decoder (in place of the text and there); repeat for several.",
        callback=_known_placements,
    ),
]
StartOption = Annotated[
    list[str] | None,
    _training(
        "--init",
        help="Where the virtual tokens start: text, vocabulary, labels, random, pretrained (what the model "
        "ships, then text); repeat for several. Default: text.",
        callback=_known_starts,
    ),
]
StartFromOption = Annotated[
    str | None,
    _training(
        "--start-from", help="A run whose prompt is the start in front; tuningfork similar names good ones."
    ),
]
ObjectiveOption = Annotated[
    Literal["auto", "labels", "tokens"],
    _training(
        "--objective", help="Tell labels apart, or learn their tokens; auto: labels in classification."
    ),
]
SmoothingOption = Annotated[
    float,
    _training(
        "--label-smoothing", help="Share that all labels get alike, against overfitting.", min=0.0, max=0.99
    ),
]
HeadOption = Annotated[
    bool,
    _training(
        "--head", help="Train a classification head with the prompt, in place of words that say labels."
    ),
]
LengthOption = Annotated[
    list[int] | None,
    _training(
        "--virtual-tokens",
        help="How many; repeat for several in front. Default: as many as the text prompt has; placed "
        "elsewhere, 16.",
        min=1,
    ),
]
StepsOption = Annotated[int, _training("--max-steps", help="Optimizer steps at most.", min=1)]
BatchOption = Annotated[int, _training("--batch-size", help="Rows per step.", min=1)]
MicroBatchOption = Annotated[
    int, _training("--micro-batch-size", help="Rows per forward: same result, less memory.", min=1)
]
BankOption = Annotated[
    int, _training("--bank-size", help="Trainings side by side in the same forwards.", min=1)
]
ScheduleOption = Annotated[
    Literal["linear", "cosine", "constant"], _training("--schedule", help="How the learning rate falls.")
]
ValidateOption = Annotated[int, _training("--validate-every", help="Steps between validations.", min=1)]
PatienceOption = Annotated[
    int, _training("--patience", help="Validations without gain before stopping; 0 never stops.", min=0)
]
CheckpointOption = Annotated[
    int, _training("--checkpoint-every", help="Steps that a crash can cost at most.", min=1)
]
SeedOption = Annotated[int, _training("--seed", help="Split, order of the rows, draws.")]
SearchedSeedsOption = Annotated[
    int, _training("--search-seeds", help="Seeds of every setting that take part in the search.", min=1)
]
SeedsOption = Annotated[int, _training("--seeds", help="Trainings of the best setting.", min=1)]
EnsembleOption = Annotated[
    bool,
    _training(
        "--ensemble", help="Let the seeds answer together: K times the prompt's memory, each row run K times."
    ),
]
RefitOption = Annotated[
    Literal["auto", "yes", "no"],
    _training("--refit", help="Train the best setting on the rows that chose it too; auto: below 50 rows."),
]
FoldsOption = Annotated[
    int, _training("--folds", help="Below 50 rows: parts of the cross-validation.", min=2)
]
ContextCacheOption = Annotated[
    int, _training("--context-cache-mb", help="Memory for words of rows that are read only once.", min=0)
]
CheckpointingOption = Annotated[
    bool,
    _training(
        "--gradient-checkpointing",
        help="Run layers again in the backward pass: same result, less memory, more time.",
    ),
]
RepeatsOption = Annotated[
    int, _training("--fold-repeats", help="Below 50 rows: cross-validations, each with other parts.", min=1)
]
DtypeOption = Annotated[
    Literal["auto", "float32", "bfloat16", "float16"],
    _training("--dtype", help="Number format of the base model; auto measures on a CPU."),
]
QuantizeOption = Annotated[
    Literal["none", "8bit", "4bit"],
    _training(
        "--quantize", help="Bits for the weights of the base model; pip install 'tuningfork\\[quantized]'."
    ),
]
LoraRankOption = Annotated[
    int | None, _training("--lora-rank", help="Learn a LoRA adapter of this rank with every prompt.", min=1)
]
LoraAlphaOption = Annotated[
    float | None,
    _training("--lora-alpha", help="It is scaled by alpha / rank. Default: twice the rank.", min=1e-6),
]
LoraRateOption = Annotated[
    list[float] | None,
    _training(
        "--lora-learning-rate",
        help="Learning rate of the adapter to try; repeat for several. Default: 0.001.",
        callback=_above_zero,
    ),
]
LoraTargetOption = Annotated[
    list[str] | None,
    _training("--lora-target", help="End of the names of layers to change; repeat. Default: all linear."),
]
LoraAloneOption = Annotated[
    bool,
    _training("--lora-alone", help="Also try the adapter behind the text prompt, without virtual tokens."),
]
LimitOption = Annotated[int | None, typer.Option("--limit", help="Read at most this many rows.", min=1)]
