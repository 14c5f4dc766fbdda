"""`tuningfork check`."""

from pathlib import Path
from typing import Annotated

import typer

from tuningfork.cli.failures import UNUSABLE, line_of, tell
from tuningfork.cli.options import DeviceOption, JsonOption, TrustAssertionsOption
from tuningfork.errors import TuningForkError

_PromptOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--prompt",
        "-p",
        help="Run folder, or task file for its text prompt; repeat to compare. Default: the suite's.",
    ),
]
_ModelOption = Annotated[
    str | None,
    typer.Option("--model", "-m", help="Base model. Default: that of the runs, else the bundled one."),
]
_RepeatsOption = Annotated[
    int | None,
    typer.Option("--repeats", "-k", min=1, max=1000, help="Answers to each case; above 1 sampled."),
]
_TemperatureOption = Annotated[
    float | None,
    typer.Option("--temperature", "-T", min=0.0, help="Above 0 answers are sampled. Default: 0."),
]
_TopPOption = Annotated[
    float | None,
    typer.Option("--top-p", min=1e-6, max=1.0, help="Sample from the likeliest tokens of this share."),
]
_SeedOption = Annotated[
    int, typer.Option("--seed", min=0, help="Repeat i of a case is sampled with this seed + i.")
]
_FailUnderOption = Annotated[
    float | None,
    typer.Option("--fail-under", min=0.0, max=1.0, help="Share of answers that must pass. Default: 1."),
]
_OnlyOption = Annotated[
    list[str] | None, typer.Option("--only", help="Case or tag to check alone; repeat for several.")
]


def check(
    suite: Annotated[Path, typer.Argument(metavar="SUITE", help="Cases: a .yaml or .csv file, or a folder.")],
    prompt: _PromptOption = None,
    model: _ModelOption = None,
    repeats: _RepeatsOption = None,
    temperature: _TemperatureOption = None,
    top_p: _TopPOption = None,
    seed: _SeedOption = 0,
    fail_under: _FailUnderOption = None,
    only: _OnlyOption = None,
    trust_code: TrustAssertionsOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the suite's files without loading a model.")
    ] = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write the matrix as one HTML file.")] = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML for a build server.")] = None,
    as_json: JsonOption = False,
    device: DeviceOption = "auto",
) -> None:
    """Check prompts with a suite of cases; exit code 0 if all pass, 1 if one fails, 2 if none could run."""
    from tuningfork.cli.checking import check_suite
    from tuningfork.recipes.check import CheckOptions

    options = CheckOptions(
        prompts=tuple(prompt or ()),
        only=tuple(only or ()),
        repeats=repeats,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        fail_under=fail_under,
        trusted=trust_code,
    )
    try:
        passes = check_suite(
            suite, options, model=model, device=device, dry_run=dry_run, as_json=as_json, files=(html, junit)
        )
    except (TuningForkError, OSError) as error:
        if (line := line_of(error)) is None:
            raise
        tell(line)
        raise typer.Exit(UNUSABLE) from None
    if not passes:
        raise typer.Exit(1)
