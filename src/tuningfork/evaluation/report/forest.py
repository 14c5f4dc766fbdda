"""Forest plot: differences with their intervals, the margin that matters, and zero."""

import math

from markupsafe import Markup

from tuningfork.evaluation.comparison import TEXT_PROMPT, ComparisonRecord, DifferenceRecord, Family
from tuningfork.evaluation.report.amounts import interval, signed
from tuningfork.evaluation.report.lanes import Frame, Lane, lane_plot
from tuningfork.evaluation.report.ranking import Ranked, ordered, verdict_text
from tuningfork.evaluation.report.svg import Scale, domain, element, line, marker, polygon


def forest(record: ComparisonRecord, present: list[Ranked], width: float) -> Markup | None:
    """Return the plot, or None where no two contestants were compared."""
    differences = ordered(record, present)
    if not differences:
        return None
    families = {one.name: one.contestant.family for one in present}
    numbers = {one.name: one.number for one in present}
    lanes = [
        Lane(
            family=families.get(difference.candidate),
            name=_name(difference, numbers),
            under="" if difference.baseline == TEXT_PROMPT else f"against {difference.baseline}",
            figure=_figure(difference, record.metric_digits),
            remark=verdict_text(difference),
            mark=_Mark(difference, families.get(difference.candidate)),
        )
        for difference in differences
    ]
    values = [0.0]
    for difference in differences:
        values += [difference.mean, difference.low, difference.high]
    if record.margin is not None:
        values += [-record.margin, record.margin]
    frame = Frame(
        identity="forest",
        title=f"Differences in {record.metric} against the text prompt",
        description="; ".join(difference.sentence for difference in differences),
        ends=domain(values),
        axis_names=_axis_names(record),
        behind=_Behind(record.margin),
    )
    return lane_plot(frame, lanes, width)


def _name(difference: DifferenceRecord, numbers: dict[str, int]) -> str:
    number = numbers.get(difference.candidate)
    return difference.candidate if number is None else f"{number} {difference.candidate}"


def _figure(difference: DifferenceRecord, digits: int) -> str:
    ends = interval(difference.low, difference.high, digits, with_signs=True)
    return f"{signed(difference.mean, digits)} {ends}"


def _axis_names(record: ComparisonRecord) -> tuple[str, str, str]:
    middle = f"difference in {record.metric}"
    return ("← worse", middle, "better →") if record.higher_is_better else ("← better", middle, "worse →")


class _Behind:
    """Draws the margin as a band and zero as a line."""

    def __init__(self, margin: float | None) -> None:
        self._margin = margin

    def __call__(self, scale: Scale, top: float, bottom: float) -> list[Markup]:
        zero = line((scale(0.0), top), (scale(0.0), bottom), "zero")
        if self._margin is None:
            return [zero]
        left, right = scale(-self._margin), scale(self._margin)
        band = element("rect", x=left, y=top, width=right - left, height=bottom - top, class_="band")
        return [band, zero]


class _Mark:
    """Draws one difference: its interval, within it thicker the one for equivalence, and its mean."""

    def __init__(self, difference: DifferenceRecord, family: Family | None) -> None:
        self._difference = difference
        self._family: Family = family or "words"

    def __call__(self, scale: Scale, middle: float) -> list[Markup]:
        found = self._difference
        parts = [
            line((scale(found.low), middle), (scale(found.high), middle), "whisker"),
            line((scale(found.equivalence_low), middle), (scale(found.equivalence_high), middle), "inner"),
        ]
        for end, direction in ((found.low, -1), (found.high, 1)):
            x = scale(end)
            if math.isinf(end):
                tip = [(x + 7 * direction, middle), (x, middle - 5), (x, middle + 5)]
                parts.append(polygon(tip, "arrow"))
            else:
                parts.append(line((x, middle - 5), (x, middle + 5), "whisker"))
        if math.isfinite(found.mean):
            parts.append(marker(self._family, scale(found.mean), middle))
        return parts
