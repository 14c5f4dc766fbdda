"""Primitives of inline SVG: elements, scales, ticks, axes and markers."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from markupsafe import Markup, escape

from tuningfork.evaluation.comparison import Family
from tuningfork.evaluation.report.palette import MARKER_OF
from tuningfork.evaluation.report.words import clean

FONT_SIZE = 13.0
SMALL_FONT_SIZE = 12.0
_MARGIN_OF_A_DOMAIN = 0.05

Attribute = str | float | None


def element(name: str, *children: str, **attributes: Attribute) -> Markup:
    """Return an SVG element; children that are not `Markup` are text.

    A trailing underscore of an attribute's name is dropped, others become hyphens (`class_`, `text_anchor`);
    numbers are rounded to a tenth, and attributes that are None are left out.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if not children:
        return Markup(f"<{name}{given}/>")
    return Markup(f"<{name}{given}>{joined(children)}</{name}>")


def joined(parts: Iterable[str]) -> Markup:
    """Return `parts` behind each other; those that are not `Markup` are escaped."""
    return Markup("").join(part if isinstance(part, Markup) else clean(part) for part in parts)


def drawing(
    identity: str, width: float, height: float, names: tuple[str, str], parts: Iterable[str]
) -> Markup:
    """Return a whole inline SVG; `names` are its title and the text that stands for it where it is not seen.

    `identity` must be unique in the page.
    """
    title, description = names
    return element(
        "svg",
        element("title", title, id=f"{identity}-title"),
        element("desc", description, id=f"{identity}-text"),
        *parts,
        class_="plot",
        viewBox=f"0 0 {_value(width)} {_value(height)}",
        role="img",
        aria_labelledby=f"{identity}-title {identity}-text",
    )


def text(x: float, y: float, words: str, *, anchor: str = "start", class_: str | None = None) -> Markup:
    """Return one line of text with its baseline at `y`."""
    return element(
        "text", words or " ", x=x, y=y, text_anchor=None if anchor == "start" else anchor, class_=class_
    )


def line(start: tuple[float, float], end: tuple[float, float], class_: str) -> Markup:
    """Return a straight line."""
    return element("line", x1=start[0], y1=start[1], x2=end[0], y2=end[1], class_=class_)


def polyline(points: Iterable[tuple[float, float]], class_: str) -> Markup:
    """Return a line through `points`."""
    return element("polyline", points=" ".join(f"{_value(x)},{_value(y)}" for x, y in points), class_=class_)


def polygon(points: Iterable[tuple[float, float]], class_: str) -> Markup:
    """Return an area with corners at `points`."""
    return element("polygon", points=" ".join(f"{_value(x)},{_value(y)}" for x, y in points), class_=class_)


def marker(family: Family, x: float, y: float, radius: float = 6.0, class_: str = "marker") -> Markup:
    """Return the shape of a family, in its colour."""
    shape = MARKER_OF[family]
    classes = f"{class_} {family}"
    if shape == "circle":
        return element("circle", cx=x, cy=y, r=radius, class_=classes)
    if shape == "square":
        side = radius * 0.88
        return element("rect", x=x - side, y=y - side, width=2 * side, height=2 * side, class_=classes)
    corners = {"triangle": (3, 1.3, 1.3), "diamond": (4, 1.25, 1.25), "star": (10, 1.4, 0.62)}
    number, outer, inner = corners[shape]
    points = []
    for corner in range(number):
        reach = radius * (outer if corner % 2 == 0 else inner)
        angle = 2 * math.pi * corner / number - math.pi / 2
        points.append((x + reach * math.cos(angle), y + reach * math.sin(angle)))
    return polygon(points, classes)


@dataclass(frozen=True, slots=True)
class Scale:
    """Where values from `low` to `high` stand between `start` and `end`; what lies outside stands at the end.

    A logarithmic scale has no place for zero: with `zero` it has one beyond a break in the axis.
    """

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False
    zero: float | None = None

    def __call__(self, value: float) -> float:
        """Return the position of `value`."""
        if self.is_log and value <= 0:
            return self.start if self.zero is None else self.zero
        if self.is_log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)

    def ticks(self, most: int) -> list[float]:
        """Return about `most` round values, rising, zero of a broken axis not among them."""
        return log_ticks(self.low, self.high, most) if self.is_log else ticks(self.low, self.high, most)


def domain(values: Iterable[float]) -> tuple[float, float]:
    """Return the ends of an axis for the finite ones of `values`, with some room, never of no width."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return 0.0, 1.0
    low, high = min(finite), max(finite)
    room = (high - low) * _MARGIN_OF_A_DOMAIN
    # Values that differ by rounding only would make an axis whose ticks are all the same.
    least = max(abs(low), abs(high)) * 1e-6
    if room <= least:
        room = max(abs(low), abs(high)) * 0.1 or 0.5
    return low - room, high + room


def ticks(low: float, high: float, most: int) -> list[float]:
    """Return multiples of 1, 2, 2.5 or 5 times a power of ten from `low` to `high`, at most `most` + 1."""
    rough = (high - low) / most
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(
        factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= rough * (1 - 1e-9)
    )
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Return powers of ten from `low` to `high`: some of them where many, with 2 and 5 between where few."""
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    exponents = range(first, last + 1)
    if len(exponents) > most:
        return [10.0**exponent for exponent in exponents[:: math.ceil(len(exponents) / most)]]
    if len(exponents) >= 3:
        return [10.0**exponent for exponent in exponents]
    fine = [factor * 10.0**exponent for exponent in range(first - 1, last + 1) for factor in (1, 2, 5)]
    return [value for value in fine if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]


def tick_text(value: float) -> str:
    """Return the label of a tick without the noise of binary fractions."""
    return f"{value:,.10g}".replace("-", "\N{MINUS SIGN}")


def bottom_axis(
    scale: Scale, y: float, most: int, top: float, show: Callable[[float], str] = tick_text
) -> list[Markup]:
    """Return a horizontal axis at `y` with labels below it and grid lines up to `top`."""
    parts = [line((scale.start, y), (scale.end, y), "axis")]
    places = [(scale(value), show(value)) for value in scale.ticks(most)]
    if scale.zero is not None:
        parts += _break(scale, y)
        places.insert(0, (scale.zero, "0"))
    for x, label in places:
        parts += [line((x, top), (x, y), "grid"), text(x, y + 18, label, anchor="middle", class_="tick")]
    return parts


def left_axis(
    scale: Scale, x: float, right: float, most: int, show: Callable[[float], str] = tick_text
) -> list[Markup]:
    """Return the labels of a vertical axis at `x` and its grid lines up to `right`."""
    parts = []
    for value in scale.ticks(most):
        y = scale(value)
        parts += [
            line((x, y), (right, y), "grid"),
            text(x - 7, y + 4.2, show(value), anchor="end", class_="tick"),
        ]
    return parts


def _break(scale: Scale, y: float) -> list[Markup]:
    assert scale.zero is not None
    middle = (scale.zero + scale.start) / 2
    strokes = [line((middle + dx - 3, y + 6), (middle + dx + 3, y - 6), "axis") for dx in (-3.0, 3.0)]
    return [
        line((scale.zero - 14, y), (middle - 3, y), "axis"),
        line((middle + 3, y), (scale.start, y), "axis"),
        *strokes,
    ]


def _value(value: Attribute) -> str:
    if isinstance(value, int | float):
        return f"{round(value, 1) + 0.0:g}"
    return str(escape(clean(str(value))))
