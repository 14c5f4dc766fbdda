import math

import pytest

from tests.evaluation.report import records
from tests.evaluation.report.drawings import centre, markers, numbers, parts, texts
from tuningfork.evaluation.comparison import ComparisonRecord, DifferenceRecord
from tuningfork.evaluation.report.forest import forest
from tuningfork.evaluation.report.lanes import NARROW, WIDE
from tuningfork.evaluation.report.ranking import ordered, ranked

RECORD = records.classification()


def drawn(record: ComparisonRecord, width: float = WIDE) -> str:
    svg = forest(record, ranked(record), width)
    assert svg is not None
    return svg


def marks_on_axis(svg: str) -> list[float]:
    """The x of the markers that are not those before the names."""
    return [centre(found)[0] for found in markers(svg) if centre(found)[0] > 12]


def with_differences(**changes: object) -> ComparisonRecord:
    changed: list[DifferenceRecord] = [each.model_copy(update=changes) for each in RECORD.differences]
    return RECORD.model_copy(update={"differences": tuple(changed)})


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_differences_intervals_margin_and_zero_stand_at_their_values(width: float) -> None:
    svg = drawn(RECORD, width)
    found = ordered(RECORD, ranked(RECORD))
    zero = numbers(parts(svg, "line", "zero")[0], "x1")[0]
    left, across = numbers(parts(svg, "rect", "band")[0], "x", "width")
    assert left + across / 2 == pytest.approx(zero, abs=0.1)
    unit = across / 2 / 0.05
    means = [zero + unit * each.mean for each in found]
    assert marks_on_axis(svg) == pytest.approx(means, abs=1.5)
    whiskers = [numbers(each, "x1", "x2", "y1", "y2") for each in parts(svg, "line", "whisker")]
    intervals = [(x1, x2) for x1, x2, y1, y2 in whiskers if y1 == y2]
    assert [x1 for x1, _ in intervals] == pytest.approx([zero + unit * each.low for each in found], abs=1.5)
    assert [x2 for _, x2 in intervals] == pytest.approx([zero + unit * each.high for each in found], abs=1.5)
    inner = [numbers(each, "x1", "x2") for each in parts(svg, "line", "inner")]
    expected = [zero + unit * each.equivalence_low for each in found]
    assert [x1 for x1, _ in inner] == pytest.approx(expected, abs=1.5)


def test_each_line_says_its_name_its_numbers_and_its_verdict() -> None:
    svg = drawn(RECORD)
    assert texts(svg, "name")[0] == "1 TF-IDF + logistic regression"
    assert texts(svg, "figure")[0].startswith("+0.567 [")
    assert "▼ worse" in texts(svg, "remark")
    assert "against full fine-tuning" in texts(svg, "remark")


def test_better_is_on_the_left_where_lower_is_better() -> None:
    assert texts(drawn(RECORD))[-3:] == ["← worse", "difference in accuracy", "better →"]
    lower = RECORD.model_copy(update={"higher_is_better": False})
    assert texts(drawn(lower))[-3:] == ["← better", "difference in accuracy", "worse →"]


def test_an_unbounded_interval_ends_in_arrows_at_the_axis_ends() -> None:
    svg = drawn(with_differences(low=-math.inf, high=math.inf))
    arrows = parts(svg, "polygon", "arrow")
    assert len(arrows) == 2 * len(RECORD.differences)
    axis = numbers(parts(svg, "line", "axis")[0], "x1", "x2")
    assert [centre(arrow)[0] for arrow in arrows[:2]] == pytest.approx(axis, abs=4)
    assert parts(drawn(RECORD), "polygon", "arrow") == []


def test_an_interval_without_width_and_no_margin_still_make_a_plot() -> None:
    same = with_differences(mean=0.0, low=0.0, high=0.0, equivalence_low=0.0, equivalence_high=0.0)
    svg = drawn(same.model_copy(update={"margin": None}))
    zero = numbers(parts(svg, "line", "zero")[0], "x1")[0]
    assert marks_on_axis(svg) == pytest.approx([zero] * len(RECORD.differences), abs=0.5)
    assert parts(svg, "rect", "band") == []


def test_without_differences_there_is_no_plot() -> None:
    assert forest(RECORD.model_copy(update={"differences": ()}), ranked(RECORD), WIDE) is None
