"""Learning curves: one small plot for each contestant, the others behind it in grey, all on the same axes."""

import math
from collections.abc import Sequence

from markupsafe import Markup

from tuningfork.evaluation.comparison import ComparisonRecord, CurvePoint, Family
from tuningfork.evaluation.report.amounts import interval, score
from tuningfork.evaluation.report.ranking import Ranked
from tuningfork.evaluation.report.svg import (
    FONT_SIZE,
    Scale,
    domain,
    drawing,
    left_axis,
    line,
    marker,
    polygon,
    polyline,
    text,
)
from tuningfork.evaluation.report.words import fitted

_WIDTH, _HEIGHT = 300.0, 220.0
_LEAST_RATIO_FOR_LOGARITHMS = 4.0
_LEAST_GAP = 26.0
"""Between the middles of two labels of the axis."""

Curve = Sequence[CurvePoint]


def curves(record: ComparisonRecord, present: list[Ranked]) -> list[Markup]:
    """Return a plot for each contestant that has a curve, by rank; none where there are no curves."""
    by_name: dict[str, list[CurvePoint]] = {}
    for point in sorted(record.curves, key=lambda point: point.num_train):
        by_name.setdefault(point.contestant, []).append(point)
    ranks = {one.name: one.number for one in present}
    families: dict[str, Family] = {each.name: each.family for each in record.contestants}
    names = sorted(by_name, key=lambda name: ranks.get(name, len(ranks) + 1))
    if not names:
        return []
    scales = _scales(record)
    plots = []
    for at, name in enumerate(names):
        others = [by_name[other] for other in names if other != name]
        label = f"{ranks[name]} {name}" if name in ranks else name
        family = families.get(name, "words")
        parts = _plot(by_name[name], others, scales, family, label)
        plots.append(
            drawing(
                f"curve-{at}",
                _WIDTH,
                _HEIGHT,
                (f"Learning curve of {name}", _description(by_name[name], record)),
                parts,
            )
        )
    return plots


def _scales(record: ComparisonRecord) -> tuple[Scale, Scale]:
    numbers = [float(point.num_train) for point in record.curves]
    low, high = min(numbers), max(numbers)
    left, right = 44.0, _WIDTH - 14.0
    if high / low >= _LEAST_RATIO_FOR_LOGARITHMS:
        across = Scale(low / 1.1, high * 1.1, left, right, is_log=True)
    else:
        across = Scale(*domain(numbers), left, right)
    values = [value for point in record.curves for value in (point.low, point.high, point.mean)]
    return across, Scale(*domain(values), _HEIGHT - 44.0, 32.0)


def _plot(
    curve: Curve, others: Sequence[Curve], scales: tuple[Scale, Scale], family: Family, label: str
) -> list[Markup]:
    across, up = scales
    parts: list[Markup] = [
        *left_axis(up, across.start, across.end, 4),
        *_number_axis(curve, across, up),
        *(polyline([(across(p.num_train), up(p.mean)) for p in other], "behind") for other in others),
    ]
    if len(curve) > 1:
        highs = [(across(point.num_train), up(point.high)) for point in curve]
        lows = [(across(point.num_train), up(point.low)) for point in reversed(curve)]
        parts.append(polygon([*highs, *lows], f"area {family}"))
    for point in curve:
        x = across(point.num_train)
        parts.append(line((x, up(point.low)), (x, up(point.high)), f"thin {family}"))
    parts.append(polyline([(across(p.num_train), up(p.mean)) for p in curve], f"curve {family}"))
    parts += [marker(family, across(point.num_train), up(point.mean), 4.5) for point in curve]
    parts.append(marker(family, 10, 12, 5.0))
    parts.append(text(22, 16.5, fitted(label, _WIDTH - 30, FONT_SIZE), class_="name"))
    parts.append(text((across.start + across.end) / 2, _HEIGHT - 8, "training examples", anchor="middle"))
    return parts


def _number_axis(curve: Curve, across: Scale, up: Scale) -> list[Markup]:
    """Return the axis with a label at each number of examples that there is room for."""
    parts = [line((across.start, up.start), (across.end, up.start), "axis")]
    free = -math.inf
    for point in curve:
        x = across(point.num_train)
        if x >= free:
            label = text(x, up.start + 18, f"{point.num_train:,}", anchor="middle", class_="tick")
            parts += [line((x, up.end), (x, up.start), "grid"), label]
            free = x + _LEAST_GAP
    return parts


def _description(curve: Curve, record: ComparisonRecord) -> str:
    digits = record.metric_digits
    return "; ".join(
        f"{point.num_train} examples: {score(point.mean, digits)} {interval(point.low, point.high, digits)}"
        for point in curve
    )
