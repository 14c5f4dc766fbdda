"""A comparison as Markdown that renders on GitHub."""

import re
from collections.abc import Iterable, Sequence

from tuningfork.evaluation.comparison import ComparisonRecord, MeasuredMetric
from tuningfork.evaluation.report.amounts import interval, percent, score
from tuningfork.evaluation.report.confusion import confusion
from tuningfork.evaluation.report.flips import Excerpt, Pair, Side, flips
from tuningfork.evaluation.report.pareto import front, known_axes, points_on
from tuningfork.evaluation.report.ranking import Ranked, absent, ranked
from tuningfork.evaluation.report.table import (
    cost_columns,
    difference_lines,
    facts,
    lines,
    method_notes,
    subtitle,
)
from tuningfork.evaluation.report.words import ELLIPSIS, clean

_MOST_CASES = 6
_MOST_OF_A_CELL = 240
_MOST_MISTAKES = 5
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~#])")


def markdown(record: ComparisonRecord) -> str:
    """Return the report of a comparison as Markdown; the same record gives the same text."""
    present = ranked(record)
    parts = [
        f"# {escaped(record.headline)}",
        escaped(subtitle(record)),
        *_contestants(record, present),
        *_absent(record, present),
        *_differences(record, present),
        *_costs(record, present),
        *_metrics(record, present),
        *_mistakes(record, present),
        *_curves(record),
        *_flips(record, present),
        *_method(record, present),
    ]
    return "\n\n".join(parts) + "\n"


def escaped(words: str) -> str:
    """Return text from outside as one line that Markdown and HTML take literally, in cells of tables too."""
    line = " ".join(clean(words).split())
    # An entity of the text's own would be read as the character that it names.
    return _SPECIAL.sub(r"\\\1", line.replace("&", "&amp;")).replace("\\<", "&lt;").replace("\\>", "&gt;")


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table whose cells are Markdown already."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, ["---"] * len(header), *rows])


def _contestants(record: ComparisonRecord, present: list[Ranked]) -> list[str]:
    if not present:
        return ["Nothing was measured."]
    header = [
        "",
        "contestant",
        record.metric,
        "against the text prompt",
        "verdict",
        *cost_columns(present),
        "settings",
    ]
    rows = [
        [
            str(line.one.number),
            escaped(line.one.name),
            _with_interval(line.score, line.interval),
            _with_interval(line.difference, line.difference_interval),
            escaped(line.verdict),
            *map(escaped, line.costs),
            escaped(line.setting),
        ]
        for line in lines(record, present)
    ]
    return [_table([escaped(name) for name in header], rows)]


def _with_interval(value: str, ends: str) -> str:
    return escaped(f"{value} {ends}".strip())


def _absent(record: ComparisonRecord, present: list[Ranked]) -> list[str]:
    missing = absent(record, present)
    if not missing:
        return []
    items = [
        f"- {escaped(each.name)}: {each.status}{': ' if each.reason else ''}{escaped(each.reason)}"
        for each in missing
    ]
    return ["## Left out or failed", "\n".join(items)]


def _differences(record: ComparisonRecord, present: list[Ranked]) -> list[str]:
    found = difference_lines(record, present)
    if not found:
        return []
    header = ["candidate", "difference", "interval", "p (Holm)", "better / worse rows", "verdict"]
    rows = [
        [
            escaped(cell)
            for cell in (each.title, each.mean, each.interval, each.adjusted_p, each.flips, each.verdict)
        ]
        for each in found
    ]
    sentences = [f"- {escaped(difference.sentence)}" for difference in record.differences]
    return ["## Differences", _table(header, rows), "\n".join(sentences)]


def _costs(record: ComparisonRecord, present: list[Ranked]) -> list[str]:
    items = []
    for axis in known_axes(present):
        best = front(points_on(axis, present), higher_is_better=record.higher_is_better)
        names = ", ".join(
            f"{escaped(point.one.name)} ({escaped(axis.show(point.cost))}, "
            f"{escaped(score(point.one.mean, record.metric_digits))})"
            for point in best
        )
        items.append(f"- {axis.unit}: {names}")
    if not items:
        return []
    return ["## Quality against cost", "Nothing is both cheaper and better than these:", "\n".join(items)]


def _metrics(record: ComparisonRecord, present: list[Ranked]) -> list[str]:
    rows = [
        [
            escaped(one.name),
            escaped(metric.name),
            escaped(f"{score(metric.value, 3)} {interval(metric.low, metric.high, 3)}".strip()),
            escaped("; ".join(filter(None, (_direction(metric), metric.note)))),
        ]
        for one in present
        for metric in one.contestant.metrics
    ]
    return ["## Further metrics", _table(["contestant", "metric", "value", "note"], rows)] if rows else []


def _direction(metric: MeasuredMetric) -> str:
    return "lower is better" if metric.higher_is_better is False else ""


def _mistakes(record: ComparisonRecord, present: list[Ranked]) -> list[str]:
    items = []
    for one in present:
        found = confusion(record, one.contestant)
        if found is None:
            continue
        listed = "; ".join(
            f"{escaped(mistake.true)} taken for {escaped(mistake.said)} "
            f"({escaped(percent(mistake.share))} of {mistake.total})"
            for mistake in found.mistakes[:_MOST_MISTAKES]
        )
        items.append(f"- {escaped(one.name)}: {listed or 'none'}")
    return ["## Most frequent confusions", "\n".join(items)] if items else []


def _curves(record: ComparisonRecord) -> list[str]:
    if not record.curves:
        return []
    digits = record.metric_digits
    rows = [
        [
            escaped(point.contestant),
            f"{point.num_train:,}",
            escaped(f"{score(point.mean, digits)} {interval(point.low, point.high, digits)}"),
            str(point.num_seeds),
        ]
        for point in record.curves
    ]
    header = ["contestant", "training examples", escaped(record.metric), "seeds"]
    return ["## Learning curves", _table(header, rows)]


def _flips(record: ComparisonRecord, present: list[Ranked]) -> list[str]:
    parts: list[str] = []
    for pair in flips(record, present, _MOST_CASES):
        parts += _pair(pair, record.metric_digits)
    return ["## Flipped cases", *parts] if parts else []


def _pair(pair: Pair, digits: int) -> list[str]:
    found = pair.difference
    title = (
        f"### {escaped(found.candidate)} against {escaped(found.baseline)}: "
        f"{len(found.flips_better):,} better, {len(found.flips_worse):,} worse"
    )
    header = ["row", "", "input", "target", escaped(found.candidate), escaped(found.baseline)]
    rows = [
        [
            str(case.number),
            "▲ better" if case.is_better else "▼ worse",
            "<br>".join(f"{escaped(name)}: {_cell(words)}" for name, words in case.inputs),
            "<br>".join(map(_cell, case.targets)),
            _answers(case.candidate, digits),
            _answers(case.baseline, digits),
        ]
        for case in pair.cases
    ]
    more = pair.num_flips - len(pair.cases)
    tail = [f"{more:,} more in the JSON file."] if more else []
    return [title, _table(header, rows), *tail]


def _cell(words: Excerpt) -> str:
    is_cut = len(words.shown) > _MOST_OF_A_CELL or words.num_more > 0
    return escaped(words.shown[:_MOST_OF_A_CELL]) + (ELLIPSIS if is_cut else "")


def _answers(side: Side, digits: int) -> str:
    first = side.answers[0]
    seeds = f" ({first.num_seeds} of {side.num_seeds} seeds)" if side.num_seeds > 1 else ""
    return f"{_cell(first.text)}{seeds}<br>score {score(side.score, digits)}"


def _method(record: ComparisonRecord, present: list[Ranked]) -> list[str]:
    notes = [f"- {escaped(note)}" for note in (*record.notes, *method_notes(record, present))]
    rows = [(escaped(name), escaped(value)) for name, value in facts(record)]
    parts = ["## How to read this", "\n".join(notes), "## Where it was made", _table(["", ""], rows)]
    if record.command:
        fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", record.command)), 0)
        parts += ["## To make it again", f"{fence}sh\n{clean(record.command)}\n{fence}"]
    return parts
