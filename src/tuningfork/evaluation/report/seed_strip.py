"""Strip plot: the score of every seed, with the mean of its contestant and the interval of that."""

import math
from collections.abc import Sequence

from markupsafe import Markup

from tuningfork.evaluation.comparison import TEXT_PROMPT, ComparisonRecord
from tuningfork.evaluation.report.amounts import interval, score
from tuningfork.evaluation.report.lanes import Frame, Lane, lane_plot
from tuningfork.evaluation.report.ranking import Ranked, seed_mean
from tuningfork.evaluation.report.svg import Scale, domain, element, line, marker

_DOT = 3.0
_MOST_ROWS = 3


def seed_strip(record: ComparisonRecord, present: list[Ranked], width: float) -> Markup | None:
    """Return the plot, or None where nothing was measured."""
    if not present:
        return None
    digits = record.metric_digits
    lanes = [
        Lane(
            family=one.contestant.family,
            name=one.label,
            under="",
            figure=score(one.mean, digits),
            remark=_remark(one, digits),
            mark=_Mark(one),
        )
        for one in present
    ]
    values: list[float] = []
    for one in present:
        values += [one.mean, *map(seed_mean, one.contestant.seeds)]
        values += [end for end in (one.contestant.low, one.contestant.high) if end is not None]
    reference = next((one.mean for one in present if one.name == TEXT_PROMPT), None)
    direction = "higher" if record.higher_is_better else "lower"
    frame = Frame(
        identity="seeds",
        title=f"{record.metric} of every contestant and of each of its seeds",
        description="; ".join(_sentence(one, digits) for one in present),
        ends=domain(values),
        axis_names=("", f"{record.metric}, {direction} is better", ""),
        behind=_Reference(reference),
    )
    return lane_plot(frame, lanes, width)


def _remark(one: Ranked, digits: int) -> str:
    ends = interval(one.contestant.low, one.contestant.high, digits)
    number = len(one.contestant.seeds)
    seeds = "measured once" if number == 1 else f"{number} seeds" if number else ""
    return ", ".join(part for part in (ends, seeds) if part)


def _sentence(one: Ranked, digits: int) -> str:
    seeds = ", ".join(score(seed_mean(seed), digits) for seed in one.contestant.seeds)
    ends = interval(one.contestant.low, one.contestant.high, digits)
    return f"{one.name}: {score(one.mean, digits)} {ends} (seeds {seeds})"


class _Reference:
    """Draws a line at the score of the text prompt."""

    def __init__(self, value: float | None) -> None:
        self._value = value

    def __call__(self, scale: Scale, top: float, bottom: float) -> list[Markup]:
        if self._value is None:
            return []
        return [line((scale(self._value), top), (scale(self._value), bottom), "zero")]


class _Mark:
    """Draws one contestant: the interval and mean on one line, its seeds as dots below it."""

    def __init__(self, one: Ranked) -> None:
        self._one = one

    def __call__(self, scale: Scale, middle: float) -> list[Markup]:
        contestant = self._one.contestant
        parts = []
        if contestant.low is not None and contestant.high is not None:
            low, high = scale(contestant.low), scale(contestant.high)
            parts.append(line((low, middle - 4), (high, middle - 4), "whisker"))
            parts += [line((x, middle - 9), (x, middle + 1), "whisker") for x in (low, high)]
        parts.append(marker(contestant.family, scale(self._one.mean), middle - 4))
        if len(contestant.seeds) > 1:
            places = sorted(scale(seed_mean(seed)) for seed in contestant.seeds)
            parts += [
                element("circle", cx=x, cy=middle + 9 + 6 * row, r=_DOT, class_=f"dot {contestant.family}")
                for x, row in zip(places, _rows(places), strict=True)
            ]
        return parts


def _rows(places: Sequence[float]) -> list[int]:
    """Return the row of each dot, the first that is free there, so that equal seeds are seen as several."""
    last: dict[int, float] = {}
    rows = []
    for x in places:
        row = next((row for row in range(_MOST_ROWS) if x - last.get(row, -math.inf) >= 2 * _DOT), 0)
        last[row] = x
        rows.append(row)
    return rows
