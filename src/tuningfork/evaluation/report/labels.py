"""Labels beside points, so that none covers another."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_DISTANCES = (11.0, 15.0, 20.0, 28.0, 40.0, 56.0)
_HARM_OF_A_LINE = 14.0
"""Units of distance that a label goes to leave a line free."""
_GRID = 12.0
_LONGEST_WITHOUT_LEADER = 17.0


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in the units of the drawing; `top` is the smaller y."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: "Box") -> float:
        """Return the area that both cover."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(width, 0.0) * max(height, 0.0)

    def contains(self, other: "Box") -> bool:
        """Return whether `other` lies in this box."""
        return (
            self.left <= other.left
            and self.top <= other.top
            and self.right >= other.right
            and self.bottom >= other.bottom
        )

    def nearest(self, x: float, y: float) -> tuple[float, float]:
        """Return the place in the box that is nearest to a point."""
        return min(max(x, self.left), self.right), min(max(y, self.top), self.bottom)


def place(
    points: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    bounds: Box,
    obstacles: Sequence[Box],
    lines: Sequence[Box] = (),
) -> list[Box]:
    """Return a box of the given width and height for each point, in `bounds`, near it.

    Boxes cover neither each other nor an obstacle as long as there is room for that in `bounds`; where there
    is none, they cover as little as they can. They cover `lines` only to stay near their points.

    Raises:
        ValueError: If a label is larger than `bounds`.
    """
    taken = list(obstacles)
    placed = []
    for point, size in zip(points, sizes, strict=True):
        box = _best(point, size, bounds, (taken, lines))
        placed.append(box)
        taken.append(box)
    return placed


def leader(box: Box, x: float, y: float) -> tuple[float, float] | None:
    """Return where a line from the point to its label ends; None where the label is near enough."""
    end = box.nearest(x, y)
    return end if math.dist(end, (x, y)) > _LONGEST_WITHOUT_LEADER else None


def _best(
    point: tuple[float, float],
    size: tuple[float, float],
    bounds: Box,
    drawn: tuple[Sequence[Box], Sequence[Box]],
) -> Box:
    taken, lines = drawn
    least, best = math.inf, None
    for reach, box in _around(point, size):
        if bounds.contains(box) and not any(box.overlap(other) for other in taken):
            harm = reach + _HARM_OF_A_LINE * sum(box.overlap(other) > 0 for other in lines)
            if harm < least:
                least, best = harm, box
    return best or _anywhere(point, size, bounds, taken)


def _around(point: tuple[float, float], size: tuple[float, float]) -> Iterator[tuple[float, Box]]:
    """Yield distances from the point with boxes there."""
    x, y = point
    width, height = size
    for reach in _DISTANCES:
        slant = reach * 0.8
        for left, top in (
            (x + reach, y - height / 2),
            (x - reach - width, y - height / 2),
            (x + slant, y - slant - height / 2),
            (x + slant, y + slant - height / 2),
            (x - slant - width, y - slant - height / 2),
            (x - slant - width, y + slant - height / 2),
            (x - width / 2, y - reach - height),
            (x - width / 2, y + reach),
        ):
            yield reach, Box(left, top, left + width, top + height)


def _anywhere(
    point: tuple[float, float], size: tuple[float, float], bounds: Box, taken: Sequence[Box]
) -> Box:
    """Return the nearest free box of a grid over the bounds, or the one that covers least."""
    width, height = size
    if width > bounds.right - bounds.left or height > bounds.bottom - bounds.top:
        raise ValueError(f"a label of {width:g} by {height:g} does not fit into {bounds}")
    columns = int((bounds.right - bounds.left - width) // _GRID) + 1
    rows = int((bounds.bottom - bounds.top - height) // _GRID) + 1
    corners = [
        (bounds.left + column * _GRID, bounds.top + row * _GRID)
        for column in range(columns)
        for row in range(rows)
    ]
    boxes = [Box(left, top, left + width, top + height) for left, top in corners]
    boxes.sort(key=lambda box: math.dist(box.nearest(*point), point))
    covered = [sum(box.overlap(other) for other in taken) for box in boxes]
    return boxes[covered.index(min(covered))]
