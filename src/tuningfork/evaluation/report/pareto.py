"""Pareto plot: quality against one cost, with the contestants that nothing beats in both marked."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from tuningfork.evaluation.comparison import ComparisonRecord, CostRecord
from tuningfork.evaluation.report.amounts import count, duration, money, score, size, with_unit
from tuningfork.evaluation.report.labels import Box, leader, place
from tuningfork.evaluation.report.ranking import Ranked
from tuningfork.evaluation.report.svg import (
    SMALL_FONT_SIZE,
    Scale,
    bottom_axis,
    domain,
    drawing,
    element,
    left_axis,
    line,
    marker,
    polyline,
    text,
    tick_text,
)
from tuningfork.evaluation.report.words import fitted, width_of

_LEAST_RATIO_FOR_LOGARITHMS = 20.0
NARROWEST_WITH_NAMES = 600.0
"""Below this, points have numbers only."""
_NEAR = 9.0
"""Points this close in x are set side by side."""
_LABEL_WIDTH, _LABEL_HEIGHT = 190.0, 15.0


@dataclass(frozen=True, slots=True)
class CostAxis:
    """One way to count what a contestant costs."""

    key: str
    name: str
    unit: str
    value: Callable[[CostRecord], float | None]
    show: Callable[[float], str]
    tick: Callable[[float], str]


def _tick_seconds(value: float) -> str:
    return f"{value:,.10g} s" if value >= 1 or value == 0 else f"{value * 1e3:,.10g} ms"


def _tick_count(value: float) -> str:
    return with_unit(value, ("", "k", "M", "G", "T"))


COST_AXES: Sequence[CostAxis] = (
    CostAxis(
        "seconds",
        "time to make",
        "time to choose settings and train",
        lambda cost: cost.seconds,
        duration,
        _tick_seconds,
    ),
    CostAxis(
        "latency",
        "latency",
        "time of one call, median",
        lambda cost: cost.latency_p50_seconds,
        duration,
        _tick_seconds,
    ),
    CostAxis("stored", "bytes stored", "bytes stored", lambda cost: cost.stored_bytes, size, size),
    CostAxis(
        "parameters",
        "trained parameters",
        "trained parameters",
        lambda cost: cost.trained_parameters,
        count,
        _tick_count,
    ),
    CostAxis(
        "money",
        "money",
        "money per 1,000 calls",
        lambda cost: cost.money_per_1000_calls,
        lambda value: money(value, ""),
        tick_text,
    ),
)


@dataclass(frozen=True, slots=True)
class Point:
    """A contestant with its cost."""

    one: Ranked
    cost: float


def points_on(axis: CostAxis, present: Sequence[Ranked]) -> list[Point]:
    """Return the contestants whose cost on `axis` is known and finite."""
    costs = [(one, axis.value(one.contestant.cost)) for one in present if one.contestant.cost is not None]
    return [Point(one, cost) for one, cost in costs if cost is not None and math.isfinite(cost)]


def known_axes(present: Sequence[Ranked]) -> list[CostAxis]:
    """Return the axes on which anything costs something."""
    return [axis for axis in COST_AXES if any(point.cost > 0 for point in points_on(axis, present))]


def front(points: Sequence[Point], *, higher_is_better: bool) -> list[Point]:
    """Return the points that no other equals or beats in both while beating it in one, the cheapest first."""
    sign = 1.0 if higher_is_better else -1.0

    def is_beaten(point: Point) -> bool:
        return any(
            other.cost <= point.cost
            and sign * other.one.mean >= sign * point.one.mean
            and (other.cost, other.one.mean) != (point.cost, point.one.mean)
            for other in points
        )

    return sorted(
        (point for point in points if not is_beaten(point)), key=lambda point: (point.cost, point.one.number)
    )


def cost_scale(costs: Sequence[float], start: float, end: float, room_for_zero: float) -> Scale:
    """Return the scale of an axis of costs, not all zero: logarithmic where they span a factor of twenty.

    Zero, which logarithms have no place for, then stands at `start`, and the axis goes on behind a break.
    """
    above_zero = [cost for cost in costs if cost > 0]
    low, high = min(above_zero), max(above_zero)
    if high / low < _LEAST_RATIO_FOR_LOGARITHMS:
        return Scale(0.0, high * 1.08, start, end)
    low, high = low / 1.6, high * 1.6
    if len(above_zero) < len(costs):
        return Scale(low, high, start + room_for_zero, end, is_log=True, zero=start + room_for_zero / 3)
    return Scale(low, high, start, end, is_log=True)


def pareto(record: ComparisonRecord, present: list[Ranked], axis: CostAxis, width: float) -> Markup:
    """Return the plot of quality against the cost on `axis`, which must be above zero for some."""
    is_wide = width >= NARROWEST_WITH_NAMES
    points = points_on(axis, present)
    height = 400.0 if is_wide else 340.0
    bounds = Box(62.0 if is_wide else 50.0, 14.0, width - 14.0, height - 52.0)
    across = cost_scale(
        [point.cost for point in points], bounds.left + 14, bounds.right - 10, 74 if is_wide else 56
    )
    up = _quality_scale(record, points, bounds)
    places = [(x, up(point.one.mean)) for x, point in zip(_apart(points, across), points, strict=True)]
    best = front(points, higher_is_better=record.higher_is_better)
    corners = _front_corners(best, points, places, bounds)
    parts: list[Markup] = [
        *left_axis(up, bounds.left, bounds.right, 6),
        *bottom_axis(across, bounds.bottom, 7 if is_wide else 4, bounds.top, axis.tick),
        polyline(corners, "front"),
    ]
    leaders, names = _labels(points, places, bounds, _lines(points, places, up, corners), is_wide=is_wide)
    parts += leaders
    for point, (x, y) in zip(points, places, strict=True):
        parts += _point(point, x, y, up, is_best=point in best)
    parts += names
    way = "up is better" if record.higher_is_better else "lower is better, so the axis points down"
    parts += [
        text(
            (bounds.left + bounds.right) / 2,
            height - 12,
            f"{_unit(axis, present)}  (left is cheaper)",
            anchor="middle",
        ),
        text(bounds.left, 10, fitted(f"{record.metric}, {way}", width - bounds.left, SMALL_FONT_SIZE)),
    ]
    title = f"{record.metric} against {axis.unit}"
    return drawing(
        f"pareto-{axis.key}-{width:.0f}",
        width,
        height,
        (title, _description(points, best, axis, record)),
        parts,
    )


def _quality_scale(record: ComparisonRecord, points: Sequence[Point], bounds: Box) -> Scale:
    values: list[float] = []
    for point in points:
        ends = (point.one.contestant.low, point.one.contestant.high)
        values += [point.one.mean, *(end for end in ends if end is not None)]
    low, high = domain(values)
    start, end = bounds.bottom - 6, bounds.top + 10
    return Scale(low, high, start, end) if record.higher_is_better else Scale(low, high, end, start)


def _unit(axis: CostAxis, present: Sequence[Ranked]) -> str:
    currencies = {one.contestant.cost.currency for one in present if one.contestant.cost is not None} - {""}
    return (
        f"{axis.unit}, {' or '.join(sorted(currencies))}" if axis.key == "money" and currencies else axis.unit
    )


def _apart(points: Sequence[Point], across: Scale) -> list[float]:
    """Return the x of each point; those that would cover each other stand side by side."""
    order = sorted(range(len(points)), key=lambda index: (points[index].cost, points[index].one.number))
    places = [across(point.cost) for point in points]
    groups: list[list[int]] = []
    for index in order:
        if groups and places[index] - places[groups[-1][-1]] < _NEAR:
            groups[-1].append(index)
        else:
            groups.append([index])
    for group in groups:
        middle = sum(places[index] for index in group) / len(group)
        step = min(12.0, 48.0 / len(group))
        for at, index in enumerate(group):
            places[index] = middle + (at - (len(group) - 1) / 2) * step
    return places


def _front_corners(
    best: Sequence[Point], points: Sequence[Point], places: Sequence[tuple[float, float]], bounds: Box
) -> list[tuple[float, float]]:
    """Return the stairs from the cheapest point of the front to the best one and on to the right."""
    corners: list[tuple[float, float]] = []
    for point in best:
        x, y = places[points.index(point)]
        if corners:
            corners.append((x, corners[-1][1]))
        corners.append((x, y))
    corners.append((bounds.right, corners[-1][1]))
    return corners


def _lines(
    points: Sequence[Point],
    places: Sequence[tuple[float, float]],
    up: Scale,
    corners: Sequence[tuple[float, float]],
) -> list[Box]:
    """Return narrow boxes around whiskers and stairs, which labels had better leave free."""
    boxes = []
    for point, (x, _) in zip(points, places, strict=True):
        low, high = point.one.contestant.low, point.one.contestant.high
        if low is not None and high is not None:
            boxes.append(_around((x, up(low)), (x, up(high))))
    return boxes + [_around(one, other) for one, other in pairwise(corners)]


def _around(one: tuple[float, float], other: tuple[float, float]) -> Box:
    (left, right), (top, bottom) = (sorted(ends) for ends in zip(one, other, strict=True))
    return Box(left - 1, top - 1, right + 1, bottom + 1)


def _point(point: Point, x: float, y: float, up: Scale, *, is_best: bool) -> list[Markup]:
    contestant = point.one.contestant
    parts = []
    if contestant.low is not None and contestant.high is not None:
        parts.append(line((x, up(contestant.low)), (x, up(contestant.high)), f"thin {contestant.family}"))
    if is_best:
        parts.append(element("circle", cx=x, cy=y, r=10.5, class_="ring"))
    return [*parts, marker(contestant.family, x, y)]


def _labels(
    points: Sequence[Point],
    places: Sequence[tuple[float, float]],
    bounds: Box,
    lines: Sequence[Box],
    *,
    is_wide: bool,
) -> tuple[list[Markup], list[Markup]]:
    """Return lines from points to names that stand apart, which belong under the markers, and the names."""
    names = [
        fitted(point.one.label, _LABEL_WIDTH, SMALL_FONT_SIZE) if is_wide else str(point.one.number)
        for point in points
    ]
    sizes = [(width_of(name, SMALL_FONT_SIZE) + 4, _LABEL_HEIGHT) for name in names]
    obstacles = [Box(x - 10, y - 10, x + 10, y + 10) for x, y in places]
    boxes = place(places, sizes, bounds, obstacles, lines)
    ends = [(point, leader(box, *point)) for point, box in zip(places, boxes, strict=True)]
    leaders = [line(point, end, "leader") for point, end in ends if end is not None]
    words = [
        text(box.left + 2, box.bottom - 3.5, name, class_="halo")
        for name, box in zip(names, boxes, strict=True)
    ]
    return leaders, words


def _description(
    points: Sequence[Point], best: Sequence[Point], axis: CostAxis, record: ComparisonRecord
) -> str:
    listed = "; ".join(
        f"{point.one.name}: {score(point.one.mean, record.metric_digits)} at {axis.show(point.cost)}"
        for point in points
    )
    return f"{listed}. Nothing is both cheaper and better than: {', '.join(p.one.name for p in best)}."
