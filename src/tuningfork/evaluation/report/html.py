"""A comparison as one HTML page that needs nothing but itself: no network, no scripts."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from tuningfork.evaluation.comparison import ComparisonRecord, Family, MeasuredMetric
from tuningfork.evaluation.report import amounts, palette, table
from tuningfork.evaluation.report.confusion import Confusion, confusion
from tuningfork.evaluation.report.curves import curves
from tuningfork.evaluation.report.flips import flips
from tuningfork.evaluation.report.forest import forest
from tuningfork.evaluation.report.lanes import NARROW, WIDE
from tuningfork.evaluation.report.pareto import CostAxis, front, known_axes, pareto, points_on
from tuningfork.evaluation.report.ranking import Ranked, absent, ranked
from tuningfork.evaluation.report.seed_strip import seed_strip
from tuningfork.evaluation.report.svg import element, marker
from tuningfork.evaluation.report.words import clean, cut

_SHOWN_AT_ONCE = 320
"""Characters of a text before the rest is folded away."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot at both widths; style sheets choose."""

    wide: Markup
    narrow: Markup


@dataclass(frozen=True, slots=True)
class ParetoView:
    """One of the plots of quality against cost."""

    axis: CostAxis
    plot: Plot
    front: tuple[str, ...]
    not_measured: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MetricColumn:
    """A further metric: its notes are said once where all contestants share one."""

    name: str
    note: str
    is_loss: bool
    """Whether lower is better."""
    cells: tuple[MeasuredMetric | None, ...]


def html(record: ComparisonRecord) -> str:
    """Return the report of a comparison as a page; the same record gives the same text."""
    present = ranked(record)
    paretos, confusions = _paretos(record, present), _confusions(record, present)
    verdict, grounds = _first_sentence(record.headline)
    return _template().render(
        record=record,
        verdict=verdict,
        grounds=grounds,
        css=_css(max(len(paretos), len(confusions))),
        subtitle=table.subtitle(record),
        present=present,
        lines=table.lines(record, present),
        cost_columns=table.cost_columns(present),
        further_cost_columns=table.FURTHER_COST_COLUMNS,
        difference_lines=table.difference_lines(record, present),
        absent=absent(record, present),
        forest=_both(forest(record, present, WIDE), forest(record, present, NARROW)),
        seeds=_both(seed_strip(record, present, WIDE), seed_strip(record, present, NARROW)),
        paretos=paretos,
        curves=curves(record, present),
        metrics=_metric_columns(present),
        confusions=confusions,
        most_heat=palette.MOST_HEAT,
        pairs=flips(record, present),
        notes=(*record.notes, *table.method_notes(record, present)),
        facts=table.facts(record),
        families=_families(present),
    )


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_finalize
    )
    environment.globals.update(amounts=amounts, icon=_icon, cut=_cut, family_names=palette.FAMILY_NAMES)
    return environment.from_string(_resource("page.html.jinja"))


def _resource(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _css(num_panes: int) -> Markup:
    """Return the style sheet; the pane of a switch is shown whose radio button is chosen."""
    chosen = ",".join(
        f".switch>input:nth-of-type({pane}):checked~.panes>:nth-child({pane})"
        for pane in range(1, num_panes + 1)
    )
    switch = f"{chosen}{{display:block}}\n" if chosen else ""
    return Markup(palette.css() + _resource("page.css") + switch)


def _finalize(value: object) -> object:
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _icon(family: Family) -> Markup:
    """Return the marker of a family as it stands in a line of text; the words beside it say the same."""
    return element("svg", marker(family, 8, 8), class_="icon", viewBox="0 0 16 16", aria_hidden="true")


def _first_sentence(words: str) -> tuple[str, str]:
    """Return the first sentence of a headline, and the others; a full stop within brackets ends none."""
    depth = 0
    for place, letter in enumerate(words):
        depth += (letter in "([") - (letter in ")]")
        if depth == 0 and words.startswith(". ", place):
            return words[: place + 1], words[place + 2 :]
    return words, ""


def _cut(words: str) -> tuple[str, str]:
    return cut(words, _SHOWN_AT_ONCE)


def _both(wide: Markup | None, narrow: Markup | None) -> Plot | None:
    return None if wide is None or narrow is None else Plot(wide, narrow)


def _paretos(record: ComparisonRecord, present: list[Ranked]) -> list[ParetoView]:
    views = []
    for axis in known_axes(present):
        points = points_on(axis, present)
        measured = {point.one.name for point in points}
        best = front(points, higher_is_better=record.higher_is_better)
        views.append(
            ParetoView(
                axis,
                Plot(pareto(record, present, axis, WIDE), pareto(record, present, axis, NARROW)),
                tuple(point.one.label for point in best),
                tuple(one.label for one in present if one.name not in measured),
            )
        )
    return views


def _metric_columns(present: Sequence[Ranked]) -> list[MetricColumn]:
    names = dict.fromkeys(metric.name for one in present for metric in one.contestant.metrics)
    columns = []
    for name in names:
        cells = tuple(
            next((metric for metric in one.contestant.metrics if metric.name == name), None)
            for one in present
        )
        notes = {cell.note for cell in cells if cell is not None}
        is_loss = any(cell is not None and cell.higher_is_better is False for cell in cells)
        columns.append(MetricColumn(name, notes.pop() if len(notes) == 1 else "", is_loss, cells))
    return columns


def _confusions(record: ComparisonRecord, present: Sequence[Ranked]) -> list[tuple[Ranked, Confusion]]:
    found = [(one, confusion(record, one.contestant)) for one in present]
    return [(one, matrix) for one, matrix in found if matrix is not None]


def _families(present: Sequence[Ranked]) -> list[Family]:
    """Return the families that take part, in the order of the legend."""
    taking_part = {one.contestant.family for one in present}
    return [family for family in palette.MARKER_OF if family in taking_part]
