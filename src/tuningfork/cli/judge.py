"""`tuningfork judge`."""

from pathlib import Path
from typing import Annotated

import typer

from tuningfork.cli import remote_options as remote
from tuningfork.cli.options import JsonOption
from tuningfork.errors import DataError


def judge(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A finished run, or a comparison.")],
    api_model: remote.ApiModelOption,
    api_base: remote.ApiBaseOption,
    criterion: Annotated[str, typer.Option("--criterion", help="What makes an answer good, in words.")],
    scale: Annotated[str, typer.Option("--scale", help="Lowest and highest score.")] = "1-5",
    answers: Annotated[
        list[str] | None,
        typer.Option("--answers", help="A way of answering to judge; repeat for several. Default: all."),
    ] = None,
    pairwise: Annotated[
        tuple[str, str] | None,
        typer.Option("--pairwise", help="Judge which of two ways of answering is better, in both orders."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", help="Judge the first rows only, this many.", min=1)
    ] = None,
    human: Annotated[
        Path | None,
        typer.Option(
            "--human",
            help="Scores of people, to say whether to trust the judge: columns row (from 0), answer, score.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print how many calls it takes and what they cost, and stop.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of the intervals.")] = 0,
    api_key_env: remote.ApiKeyOption = None,
    allow_insecure: remote.InsecureOption = False,
    no_cache: remote.NoCacheOption = False,
    max_calls: remote.MaxCallsOption = None,
    max_money: remote.MaxMoneyOption = None,
    prices: remote.PricesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a language model judge the answers of a run or a comparison, by a criterion in words."""
    if pairwise is not None and answers:
        raise DataError("--pairwise names the two ways of answering; leave --answers out")
    ends = _scale(scale)
    settings = remote.remote_settings(
        api_model,
        api_base,
        api_key_env,
        allow_insecure=allow_insecure,
        no_cache=no_cache,
        max_calls=max_calls,
        max_money=max_money,
    )
    if not criterion.strip():
        raise DataError("--criterion: say what makes an answer good, found an empty text")
    from tuningfork.cli.judging import print_judgement, print_plan
    from tuningfork.recipes.judge import JudgeRequest

    request = JudgeRequest(
        folder, settings, criterion, ends, tuple(answers or ()), pairwise, limit, human, seed
    )
    report = print_plan if dry_run else print_judgement
    report(request, prices, as_json=as_json)


def _scale(text: str) -> tuple[int, int]:
    low, _, high = text.partition("-")
    if not (low.strip().isdecimal() and high.strip().isdecimal() and int(low) < int(high)):
        raise DataError(f"--scale: expected two whole numbers that rise, as 1-5, found {text!r}")
    return int(low), int(high)
