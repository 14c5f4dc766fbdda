"""Plots with one lane for each row: a name, a stretch of a common axis, and a figure in words.

Where there is room, the three stand side by side; else the words stand above the stretch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from tuningfork.evaluation.comparison import Family
from tuningfork.evaluation.report.svg import (
    FONT_SIZE,
    SMALL_FONT_SIZE,
    Scale,
    bottom_axis,
    drawing,
    marker,
    text,
)
from tuningfork.evaluation.report.words import fitted, width_of

WIDE, NARROW = 860.0, 340.0
"""Widths of a plot: beside words, and on a telephone."""
_NARROWEST_SIDE_BY_SIDE = 600.0
_TOP = 8.0
_LINE_HEIGHT = 17.0


@dataclass(frozen=True, slots=True)
class Lane:
    """One row: `mark` draws what stands on the axis, given the scale and the height of the lane's middle."""

    family: Family | None
    name: str
    under: str
    """A second line of the name, or nothing."""
    figure: str
    remark: str
    mark: Callable[[Scale, float], Sequence[Markup]]


@dataclass(frozen=True, slots=True)
class Frame:
    """What all lanes share: the axis and what is drawn behind them."""

    identity: str
    title: str
    description: str
    ends: tuple[float, float]
    """Lowest and highest value of the axis."""
    axis_names: tuple[str, str, str]
    """What stands below the axis at its left, in its middle and at its right."""
    behind: Callable[[Scale, float, float], Sequence[Markup]]
    """Draws between two heights, under the lanes."""


def lane_plot(frame: Frame, lanes: Sequence[Lane], width: float) -> Markup:
    """Return the plot as an inline SVG of `width`."""
    is_wide = width >= _NARROWEST_SIDE_BY_SIDE
    start, end = (width * 0.29, width * 0.70) if is_wide else (14.0, width - 14.0)
    scale = Scale(*frame.ends, start, end)
    heights = [_height(lane, width, is_wide=is_wide) for lane in lanes]
    bottom = _TOP + sum(heights)
    parts: list[Markup] = [
        *bottom_axis(scale, bottom, 8 if is_wide else 5, _TOP),
        *frame.behind(scale, _TOP, bottom),
    ]
    top = _TOP
    for lane, height in zip(lanes, heights, strict=True):
        parts += _beside(lane, scale, top, width) if is_wide else _above(lane, scale, top, width)
        top += height
    parts += _axis_names(frame.axis_names, scale, bottom + 38)
    names = (frame.title, frame.description)
    return drawing(f"{frame.identity}-{width:.0f}", width, bottom + 48, names, parts)


def _height(lane: Lane, width: float, *, is_wide: bool) -> float:
    return 46.0 if is_wide else 58.0 + _LINE_HEIGHT * len(_lines_above(lane, width))


def _lines_above(lane: Lane, width: float) -> list[str]:
    """Return what stands between name and axis, in one line where it fits."""
    line = f"{lane.figure} {lane.remark}"
    lines = [line] if width_of(line, SMALL_FONT_SIZE) <= width - 26 else [lane.figure, lane.remark]
    return [lane.under, *lines] if lane.under else lines


def _beside(lane: Lane, scale: Scale, top: float, width: float) -> list[Markup]:
    """Draw the name, the axis and the figure side by side."""
    middle, right = top + 23, scale.end + 14
    room = scale.start - 40
    lift = 5 if lane.under else 0
    return [
        *_icon(lane, middle - lift),
        text(24, middle + 4.5 - lift, fitted(lane.name, room, FONT_SIZE), class_="name"),
        *(
            [text(24, middle + 14, fitted(lane.under, room, SMALL_FONT_SIZE), class_="remark")]
            if lane.under
            else []
        ),
        text(right, middle - 3, fitted(lane.figure, width - right, FONT_SIZE), class_="figure"),
        text(right, middle + 13, fitted(lane.remark, width - right, SMALL_FONT_SIZE), class_="remark"),
        *lane.mark(scale, middle),
    ]


def _above(lane: Lane, scale: Scale, top: float, width: float) -> list[Markup]:
    """Draw the name and the figure above the axis."""
    room = width - 26
    lines = _lines_above(lane, width)
    return [
        *_icon(lane, top + 16),
        text(24, top + 20, fitted(lane.name, room, FONT_SIZE), class_="name"),
        *(
            text(24, top + 20 + _LINE_HEIGHT * row, fitted(line, room, SMALL_FONT_SIZE), class_="remark")
            for row, line in enumerate(lines, start=1)
        ),
        *lane.mark(scale, top + 22 + _LINE_HEIGHT * len(lines) + 14),
    ]


def _icon(lane: Lane, y: float) -> list[Markup]:
    return [] if lane.family is None else [marker(lane.family, 10, y, 5.5)]


def _axis_names(names: tuple[str, str, str], scale: Scale, y: float) -> list[Markup]:
    left, middle, right = names
    room = scale.end - scale.start - width_of(f"{left}{right}", SMALL_FONT_SIZE) - 16
    return [
        *([text(scale.start, y, left)] if left else []),
        text((scale.start + scale.end) / 2, y, fitted(middle, room, SMALL_FONT_SIZE), anchor="middle"),
        *([text(scale.end, y, right, anchor="end")] if right else []),
    ]
