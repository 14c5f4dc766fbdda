"""How a comparison looks on a terminal."""

from collections.abc import Mapping
from types import MappingProxyType

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tuningfork.cli.tables import size
from tuningfork.evaluation.comparison import TEXT_PROMPT, ComparisonRecord, ContestantRecord, DifferenceRecord
from tuningfork.evaluation.report.amounts import clock
from tuningfork.evaluation.report.ranking import ranked
from tuningfork.evaluation.statistics import Verdict
from tuningfork.library.comparison_folder import (
    COMPARISON_FILE,
    HTML_REPORT,
    MARKDOWN_REPORT,
    ComparisonFolder,
)

_MARKS: Mapping[Verdict, tuple[str, str]] = MappingProxyType(
    {
        "better": (">", "green"),
        "worse": ("<", "red"),
        "equivalent": ("=", ""),
        "not enough data": ("?", ""),
    }
)
_NAME_WIDTH = 17


def print_comparison(console: Console, record: ComparisonRecord, folder: ComparisonFolder) -> None:
    """Print the verdict, the contestants side by side, who is missing and why, and where the files are."""
    console.print()
    console.print(Text(record.headline, style="bold"))
    console.print()
    seeds = f"means of up to {record.num_seeds} seeds, " if record.num_seeds > 1 else ""
    console.print(
        f"{record.metric} on {len(record.rows)} test rows, {seeds}95 % interval",
        highlight=False,
        markup=False,
    )
    console.print(_table(record))
    if record.differences:
        marks = ", ".join(f"{mark} {verdict}" for verdict, (mark, _) in _MARKS.items())
        console.print(f"gain: over the {TEXT_PROMPT}; {marks}", style="dim", highlight=False)
    for one in record.contestants:
        if one.status != "measured":
            console.print(Text(f"{one.status.capitalize()}: {one.name}: {one.reason}"))
    for note in record.notes:
        console.print(Text(note, style="dim"))
    console.print(f"{record.seconds:.0f} s in all.", style="dim", highlight=False)
    if record.curves:
        console.print()
        console.print(f"{record.metric} by number of examples", highlight=False)
        console.print(_curves_table(record))
    console.print()
    for label, name in (("Report", HTML_REPORT), ("Report", MARKDOWN_REPORT), ("Figures", COMPARISON_FILE)):
        if (folder.path / name).is_file():
            console.print(f"{label:<10}{folder.path / name}", highlight=False, markup=False, soft_wrap=True)


def _table(record: ComparisonRecord) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", max_width=_NAME_WIDTH)
    for name in (record.metric, "gain", "", "time", "peak", "trained", "stored", "p50"):
        table.add_column(name, justify="left" if name == record.metric else "right", no_wrap=True)
    for one in ranked(record):
        table.add_row(*_cells(one.contestant, one.difference, record.metric_digits))
    return table


def _cells(one: ContestantRecord, difference: DifferenceRecord | None, digits: int) -> list[Text]:
    cost = one.cost
    assert cost is not None, "what is measured has a cost"
    assert one.mean is not None, "what is measured has a mean"
    gain, mark, style = "", "", ""
    if difference is not None:
        gain = f"{difference.mean:+.{digits}f}"
        mark, style = _MARKS[difference.verdict]
    return [
        Text(one.name),
        Text(f"{one.mean:.{digits}f}{_interval(one, digits)}"),
        Text(gain, style=style),
        Text(mark, style=style),
        Text(clock(cost.seconds)),
        Text(size(cost.peak_memory_bytes)),
        Text(_count(cost.trained_parameters)),
        Text(size(cost.stored_bytes) if cost.stored_bytes else "-"),
        Text(_latency(cost.latency_p50_seconds)),
    ]


def _interval(one: ContestantRecord, digits: int) -> str:
    if one.low is None or one.high is None:
        return ""
    fewer = max(1, digits - 1)
    return f" [{one.low:.{fewer}f},{one.high:.{fewer}f}]"


def _curves_table(record: ComparisonRecord) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", max_width=_NAME_WIDTH)
    sizes = sorted({point.num_train for point in record.curves})
    for count in sizes:
        table.add_column(str(count), justify="right", no_wrap=True)
    means = {(point.contestant, point.num_train): point.mean for point in record.curves}
    for name in dict.fromkeys(point.contestant for point in record.curves):
        cells = [
            "-" if (name, count) not in means else f"{means[name, count]:.{record.metric_digits}f}"
            for count in sizes
        ]
        table.add_row(name, *cells)
    return table


def _latency(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.{1 if seconds < 0.01 else 0}f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _count(number: int) -> str:
    value = float(number)
    for unit in ("", "k", "M"):
        if value < 1000:
            return f"{value:.0f}{unit}" if not unit or value >= 10 else f"{value:.1f}{unit}"
        value /= 1000
    return f"{value:.1f}G"
