"""What `tuningfork judge` does and prints once its options are read; imports the heavy parts."""

import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tuningfork.cli.progress import ProgressSink
from tuningfork.evaluation.prices import load_prices
from tuningfork.recipes.judge import JudgeRequest, judge_answers, plan_judging
from tuningfork.recipes.judge_records import JudgedPairs, JudgeRecord


def print_plan(request: JudgeRequest, prices: Path | None, *, as_json: bool) -> None:
    """Print what judging would take.

    Raises:
        TuningForkError: of the kind that names what is wrong.
    """
    plan = plan_judging(request, load_prices(prices))
    if as_json:
        print(json.dumps(asdict(plan)))
        return
    console = Console()
    _say(console, f"Answers   {', '.join(plan.answers)}: {plan.num_rows} rows each")
    _say(console, f"Judge     {request.settings.model} at {request.settings.host}")
    kept = f", {plan.cached_calls} more from the cache" if plan.cached_calls else ""
    _say(console, f"Calls     {plan.calls}{kept}; about {plan.input_tokens} tokens to read")
    cost = "unknown: no price for this model" if plan.money is None else _money(plan.money, plan.currency)
    _say(console, f"Price     {cost if plan.money is None else f'about {cost}'}")
    _say(console, "Nothing was asked (--dry-run).")


def print_judgement(request: JudgeRequest, prices: Path | None, *, as_json: bool) -> None:
    """Judge, and print what was found and where it was written.

    Raises:
        TuningForkError: of the kind that names what is wrong.
    """
    console = Console(stderr=as_json)
    with ProgressSink(console) as sink:
        record, path = judge_answers(request, load_prices(prices), sink=sink)
    if as_json:
        print(json.dumps({"path": str(path), "record": record.model_dump(mode="json")}))
        return
    _say(console, f"Criterion {record.criterion}")
    _say(console, f"Judge     {record.judge} at {record.host}, {record.num_rows} rows")
    console.print()
    if record.pairs is None:
        console.print(_scores_table(record))
    else:
        _print_pairs(console, record.pairs)
    if record.trust:
        _say(console, record.trust)
    else:
        _say(console, "Whether the judge is right was not tested; score some rows yourself and give --human.")
    console.print()
    money = "" if record.money is None else f", {_money(record.money, record.currency)}"
    _say(console, f"Calls     {record.calls}, and {record.cached_calls} from the cache{money}")
    _say(console, f"Saved     {path}")


def _scores_table(record: JudgeRecord) -> Table:
    table = Table(box=None, header_style="bold")
    table.add_column("answers")
    for name in ("mean score", "95 % interval", "scored", "no judgement"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in dict.fromkeys(row.answer for row in record.rows):
        rows = [row for row in record.rows if row.answer == name]
        scored = sum(row.score is not None for row in rows)
        metric = record.metrics.get(name)
        mean = "-" if metric is None else f"{metric.value:.2f}"
        interval = "-" if metric is None else f"{metric.low:.2f} to {metric.high:.2f}"
        table.add_row(escape(name), mean, interval, str(scored), str(len(rows) - scored))
    return table


def _print_pairs(console: Console, pairs: JudgedPairs) -> None:
    _say(console, pairs.sentence)
    _say(
        console,
        f"{pairs.a} won {pairs.wins}, {pairs.b} won {pairs.losses}, {pairs.ties} ties, {pairs.unjudged} "
        "without a judgement.",
    )
    if pairs.num_asked:
        share = pairs.inconsistent / pairs.num_asked
        _say(
            console,
            f"In the other order the judge said otherwise on {pairs.inconsistent} of {pairs.num_asked} pairs "
            f"({100 * share:.0f} %, 95 % interval {100 * pairs.inconsistency_low:.0f} to "
            f"{100 * pairs.inconsistency_high:.0f} %); these count as ties. It chose the first place both "
            f"times on {pairs.always_first}, the second on {pairs.always_second}.",
        )


def _money(amount: float, currency: str) -> str:
    return f"{amount:.4f} {currency}".strip()


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False)
