"""What `tuningfork predict` does and prints once its options are read."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from tuningfork.atomic import replacing
from tuningfork.cli.checking import printable
from tuningfork.cli.progress import ProgressSink
from tuningfork.evaluation.assertion_scores import PassRate, PassRates
from tuningfork.events import Notice, StageAdvanced, StageFinished, StageStarted
from tuningfork.recipes.checked_predictions import CheckedPredictions, CheckedRow
from tuningfork.recipes.loaded_run import LoadedRun, json_line

_MOST_FAILURES = 40
_STAGE = "predict"


@dataclass(frozen=True, slots=True)
class Destination:
    """Where answers go: to a file, or to standard output, each as a line or all as one JSON object."""

    output: Path | None
    as_json: bool


def write_predictions(
    run: LoadedRun, rows: str, destination: Destination, sink: ProgressSink, *, skip_bad_rows: bool
) -> None:
    """Answer the rows of a file, and write each with its answer.

    Raises:
        TuningForkError: of the kind that names what is wrong.
    """
    answered = run.answer_file(rows, skip_bad_rows=skip_bad_rows, sink=sink)
    values = ({**row.values, **found.fields(digits=6)} for row, _, found in answered)
    described = _write(values, destination, sink)
    if destination.as_json:
        typer.echo(json_line(described))


def check_predictions(
    checked: CheckedPredictions,
    rows: str,
    destination: Destination,
    sink: ProgressSink,
    *,
    skip_bad_rows: bool,
    fail_under: float,
) -> bool:
    """Answer the rows of a file, tell which answers fail and how often assertions hold; whether enough do.

    Raises:
        TuningForkError: of the kind that names what is wrong.
    """
    failures = _Failures(sink)
    found = checked.rows(rows, skip_bad_rows=skip_bad_rows, sink=sink)
    described = _write((failures.told(row).values for row in found), destination, sink)
    failures.end()
    rates = checked.rates
    rate = rates.answers.rate
    # A share such as 19/20 is rounded.
    passes = rate is not None and rate >= fail_under - 1e-12
    if destination.as_json:
        summary = {"passes": passes, "fail_under": fail_under} | _fields(rates)
        typer.echo(json_line({**described, "check": summary}))
    else:
        _print_rates(Console(stderr=True), rates, passes=passes, fail_under=fail_under)
    return passes


class _Failures:
    """Tells of answers that fail as they come, the first of them."""

    def __init__(self, sink: ProgressSink) -> None:
        self._sink = sink
        self._count = 0

    def told(self, row: CheckedRow) -> CheckedRow:
        """The same row, once it was told of."""
        if row.checked.status == "failed":
            self._count += 1
            if self._count <= _MOST_FAILURES:
                self._sink.emit(Notice(printable(f"Failed    {row.place}: {'; '.join(row.checked.reasons)}")))
        return row

    def end(self) -> None:
        """Say how many more there were."""
        if (more := self._count - _MOST_FAILURES) > 0:
            self._sink.emit(Notice(f"Failed    {more} more; each row says it in its field check"))


def _write(
    rows: Iterator[dict[str, object]], destination: Destination, sink: ProgressSink
) -> dict[str, object]:
    """Write every row; return what the JSON object says of them."""
    if destination.as_json and destination.output is None:
        return {"predictions": list(rows)}
    started, count = time.perf_counter(), 0
    with _lines(destination.output) as write:
        if destination.output is not None:
            sink.emit(StageStarted(_STAGE, None, "rows"))
        for count, row in enumerate(rows, start=1):
            write(json_line(row))
            sink.emit(StageAdvanced(_STAGE, count))
        if destination.output is not None:
            sink.emit(StageFinished(_STAGE, time.perf_counter() - started))
    if destination.output is not None:
        took = time.perf_counter() - started
        sink.emit(Notice(f"Wrote {count} predictions to {destination.output} in {took:.1f} s"))
    return {"path": str(destination.output), "rows": count}


@contextmanager
def _lines(output: Path | None) -> Iterator[Callable[[str], Any]]:
    """What a line is written with: a file that appears only when it is whole, or standard output."""
    if output is None:
        yield typer.echo
        return
    with replacing(output) as temporary, temporary.open("w", encoding="utf-8") as file:
        yield lambda line: file.write(line + "\n")


def _fields(rates: PassRates) -> dict[str, object]:
    def of(rate: PassRate) -> dict[str, object]:
        interval = None if rate.interval is None else [rate.interval.low, rate.interval.high]
        kept = {name: value for name, value in asdict(rate).items() if name != "interval"}
        return {**kept, "rate": rate.rate, "interval": interval}

    return {"answers": of(rates.answers), "assertions": [of(rate) for rate in rates.assertions]}


def _print_rates(console: Console, rates: PassRates, *, passes: bool, fail_under: float) -> None:
    every = (*rates.assertions, rates.answers)
    width = min(40, max(len(rate.assertion) for rate in every))
    for rate in every:
        name = printable(rate.assertion)[:width]
        console.print(f"{name:<{width}}  {_in_words(rate)}", highlight=False, markup=False, soft_wrap=True)
    rate = rates.answers
    if rate.rate is None:
        line = "FAIL  nothing could be checked"
    else:
        word = "at least" if passes else "below"
        line = f"{'PASS' if passes else 'FAIL'}  {rate.rate:.1%} of answers passed, {word} {fail_under:.1%}"
    console.print(line, style="blue" if passes else "bold red", highlight=False)


def _in_words(rate: PassRate) -> str:
    skipped = f", {rate.num_skipped} not checked" if rate.num_skipped else ""
    if rate.interval is None:
        return f"not checked ({rate.num_skipped} answers)"
    low, high = (f"{end:.0%}" for end in (rate.interval.low, rate.interval.high))
    return f"{rate.num_passed} of {rate.num_checked} pass, 95 % interval {low} to {high}{skipped}"
