"""What `tuningfork bench` does and prints."""

import json
import time
from typing import Any
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.table import Table

from tuningfork.cli.progress import ProgressSink
from tuningfork.errors import RemoteError
from tuningfork.events import StageAdvanced, StageFinished, StageStarted
from tuningfork.library.exchange.server import Server
from tuningfork.serving.load import LoadPlan, LoadReport, Timing, run_load

_ROWS = (
    ("first token", "first_token_seconds"),
    ("between tokens", "between_tokens_seconds"),
    ("whole answer", "latency_seconds"),
)


def api_address(url: str) -> str:
    """`url`, with the path of the protocol where it names a server alone."""
    whole = url.rstrip("/")
    return whole if urlsplit(whole).path else f"{whole}/v1"


def models_at(url: str, key: str | None) -> list[str]:
    """What the server at `url` lists.

    Raises:
        RemoteError: there is no list.
    """
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    with Server(url, headers=headers, allows_insecure=key is None) as server:
        listed = server.get("/models").get("data")
    names = [card["id"] for card in listed or [] if isinstance(card, dict) and "id" in card]
    if not names:
        raise RemoteError(f"{url}: lists no models; name one with --model")
    return names


def bench_server(plan: LoadPlan, *, as_json: bool) -> None:
    """Run `plan` and print how it went; exit with 1 if a request failed."""
    started, count = time.perf_counter(), 0
    with ProgressSink(Console(stderr=True)) as sink:
        sink.emit(StageStarted("bench", plan.num_requests, "answers"))

        def advance(_: Timing) -> None:
            nonlocal count
            count += 1
            sink.emit(StageAdvanced("bench", count))

        report = run_load(plan, on_done=advance)
        sink.emit(StageFinished("bench", time.perf_counter() - started))
    figures = report.as_json()
    if as_json:
        typer.echo(json.dumps(figures, indent=2))
    else:
        print_report(Console(), report, figures)
    if figures["failed_requests"]:
        raise typer.Exit(1)


def print_report(console: Console, report: LoadReport, figures: dict[str, Any]) -> None:
    """Print the figures as a table, and what failed."""
    console.print(
        f"{figures['requests'] - figures['failed_requests']} of {figures['requests']} answers in "
        f"{report.seconds:.2f} s, {report.plan.concurrency} at once: {figures['tokens_per_second']:.1f} "
        f"tokens/s, {figures['requests_per_second']:.2f} answers/s",
        highlight=False,
        soft_wrap=True,
    )
    table = Table("milliseconds", box=None)
    for share in ("median", "90 %", "99 %"):
        table.add_column(share, justify="right")
    for name, field in _ROWS:
        table.add_row(name, *(_milliseconds(value) for value in figures[field].values()))
    console.print(table)
    for reason, times in figures["failures"].items():
        console.print(f"Failed    {times} times: {reason}", highlight=False, markup=False, soft_wrap=True)


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f}"
