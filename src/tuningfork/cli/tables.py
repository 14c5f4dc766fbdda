"""How results look on a terminal."""

import math
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tuningfork.library.run_records import CandidateRecord, MetricRecord, TuneResult, WayRecord
from tuningfork.tasks.tag_metrics import OUTSIDE
from tuningfork.tuning.soft.defaults import Placement


def print_result(console: Console, result: TuneResult) -> None:
    """Print the ways of prompting side by side, the verdict, and what it rests on."""
    console.print(_ways_table(result))
    if any(way.metrics for way in result.ways):
        print_metrics(console, result.ways)
    console.print(Text(result.verdict.sentence, style=_style_of(result.verdict.verdict)))
    if result.band is not None:
        band, digits = result.band, result.digits
        console.print(
            f"Over {band.num_seeds} seeds of the same setting: {band.minimum:.{digits}f} to "
            f"{band.maximum:.{digits}f} (median {band.median:.{digits}f}).",
            highlight=False,
        )
    for line in result.advice:
        console.print(f"Advice: {line}.", highlight=False, markup=False)
    times = (
        "for the first time"
        if result.test_reads == 1
        else f"{result.test_reads} times by runs in this folder"
    )
    frozen = "unchanged, bit for bit" if result.base_is_unchanged else "CHANGED: please report this"
    console.print(
        f"Test set read {times}. Base model {frozen}. {result.seconds:.0f} s in all.",
        highlight=False,
        style="dim",
    )


def print_metrics(console: Console, ways: Sequence[WayRecord]) -> None:
    """Print the further metrics of the ways side by side, with what must be known to read them below."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("")
    for metric in max((way.metrics for way in ways), key=len):
        table.add_column(Text(metric.name))
    for way in ways:
        table.add_row(way.name, *map(_metric_cell, way.metrics))
    console.print(table)
    for way in ways:
        for metric in way.metrics:
            if metric.note:
                console.print(
                    f"{metric.name} of {way.name}: {metric.note}.", highlight=False, markup=False, style="dim"
                )


def _metric_cell(metric: MetricRecord) -> Text:
    value = f"{metric.value:.{metric.digits}f}"
    if metric.low is None or metric.high is None:
        return Text(value)
    return Text(f"{value}  [{metric.low:.{metric.digits}f}, {metric.high:.{metric.digits}f}]")


def print_predictions(
    console: Console, predictions: list[dict[str, Any]], ways: list[str], *, count: int
) -> None:
    """Print inputs, references and the answers of `ways` side by side."""
    table = Table(show_lines=True, header_style="bold", expand=True)
    for name in ("input", "reference", *ways):
        table.add_column(name, overflow="fold", ratio=1)
    for row in predictions[:count]:
        answers = [row["targets"][0], *(row["predictions"].get(way, "") for way in ways)]
        table.add_row(*(Text(text) for text in _shown_row(row["inputs"], answers)))
    console.print(table)


def _shown_row(inputs: Any, answers: list[Any]) -> list[str]:
    """The input and the answers to it as texts; tags stand behind their words, but for O."""
    if not isinstance(inputs, dict):
        return [inputs[-1]["content"], *answers]
    texts = [" ".join(value) if isinstance(value, list) else value for value in inputs.values()]
    if not isinstance(answers[0], list):
        return ["\n".join(texts), *answers]
    (words,) = inputs.values()
    return [
        *texts,
        *(
            " ".join(w if tag == OUTSIDE else f"{w}/{tag}" for w, tag in zip(words, tags, strict=False))
            for tags in answers
        ),
    ]


def print_candidates(console: Console, candidates: tuple[CandidateRecord, ...], metric: str) -> None:
    """Print every candidate with its figures on held-out rows, best first."""
    table = Table(
        box=None,
        header_style="bold",
        padding=(0, 2, 0, 0),
        title="Candidates on held-out rows",
        title_justify="left",
    )
    starts = {candidate.initialization for candidate in candidates}
    for name in ("method", "P", "lr", "runs", "seed", "steps", "best", metric, "log-loss", "time"):
        table.add_column(name, justify="left" if name == "method" else "right", no_wrap=True)
    for candidate in sorted(candidates, key=_log_loss_or_last):
        name = method_name(candidate.method, candidate.placement)
        table.add_row(
            name if len(starts) == 1 else f"{name} from {candidate.initialization}",
            str(candidate.num_virtual_tokens),
            _rates(candidate),
            str(candidate.num_trainings),
            str(candidate.seed),
            str(candidate.steps),
            str(candidate.best_step),
            "-" if candidate.score is None else f"{candidate.score:.3f}",
            "all rows" if candidate.log_loss is None else f"{candidate.log_loss:.3f}",
            f"{candidate.seconds:.0f} s",
        )
    console.print(table)


def _rates(candidate: CandidateRecord) -> str:
    """The learning rate, and behind a stroke that of an adapter beside virtual tokens."""
    if candidate.adapter is None or not candidate.num_virtual_tokens:
        return f"{candidate.learning_rate:g}"
    return f"{candidate.learning_rate:g}/{candidate.adapter.learning_rate:g}"


def method_name(method: str, placement: Placement) -> str:
    """How a method is called where its placement matters."""
    return method if placement == "front" else f"{method} {placement}"


def _log_loss_or_last(candidate: CandidateRecord) -> float:
    return math.inf if candidate.log_loss is None else candidate.log_loss


def _ways_table(result: TuneResult) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("")
    table.add_column(f"{result.metric} on test (n = {result.num_test})", no_wrap=True)
    for name in ("seconds", "peak", "trained", "stored"):
        table.add_column(name, justify="right", no_wrap=True)
    best = max(way.score if result.higher_is_better else -way.score for way in result.ways)
    for way in result.ways:
        is_best = (way.score if result.higher_is_better else -way.score) == best
        table.add_row(*_way_cells(way, result.digits), style="bold" if is_best else "")
    return table


def _way_cells(way: WayRecord, digits: int) -> tuple[str, ...]:
    return (
        way.name,
        f"{way.score:.{digits}f}  [{way.low:.{digits}f}, {way.high:.{digits}f}]".replace("[", r"\["),
        f"{way.seconds:.0f}" if way.seconds else "-",
        size(way.peak_memory_bytes),
        f"{way.trained_parameters:,}",
        size(way.stored_bytes) if way.stored_bytes else "-",
    )


def size(num_bytes: int) -> str:
    """A number of bytes in words, decimal units."""
    value = float(num_bytes)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def _style_of(verdict: str) -> str:
    return {"better": "bold green", "worse": "bold red"}.get(verdict, "bold yellow")
