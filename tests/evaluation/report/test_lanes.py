import pytest

from tests.evaluation.report.drawings import centre, markers, numbers, parts, texts
from tuningfork.evaluation.report.lanes import NARROW, WIDE, Frame, Lane, lane_plot
from tuningfork.evaluation.report.svg import line, marker
from tuningfork.evaluation.report.words import width_of

FRAME = Frame(
    identity="plot",
    title="Title",
    description="Description",
    ends=(0.0, 10.0),
    axis_names=("← low", "score", "high →"),
    behind=lambda scale, top, bottom: [line((scale(5.0), top), (scale(5.0), bottom), "zero")],
)


def lane(value: float, name: str = "LoRA", under: str = "", remark: str = "good") -> Lane:
    return Lane(
        "weights", name, under, f"{value:.1f}", remark, lambda scale, y: [marker("soft", scale(value), y)]
    )


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_marks_stand_at_their_values_one_lane_below_the_other(width: float) -> None:
    svg = lane_plot(FRAME, [lane(0.0), lane(5.0), lane(10.0)], width)
    marks = [centre(found) for found in markers(svg) if "soft" in found.attrib["class"]]
    (middle, *_), *_ = [numbers(found, "x1", "y1", "y2") for found in parts(svg, "line", "zero")]
    assert marks[1][0] == pytest.approx(middle, abs=0.1)
    assert marks[0][0] < marks[1][0] < marks[2][0]
    heights = [y for _, y in marks]
    assert heights[1] - heights[0] == pytest.approx(heights[2] - heights[1], abs=0.1)
    assert heights[1] - heights[0] > 40


def test_words_stand_beside_the_axis_where_there_is_room_and_above_it_else() -> None:
    wide, narrow = (lane_plot(FRAME, [lane(5.0)], width) for width in (WIDE, NARROW))
    axis = parts(wide, "line", "axis")[0]
    figure = parts(wide, "text", "figure")[0]
    assert numbers(figure, "x")[0] > numbers(axis, "x2")[0]
    assert texts(wide, "remark") == ["good"]
    assert texts(narrow, "remark") == ["5.0 good"]
    mark = next(found for found in markers(narrow) if "soft" in found.attrib["class"])
    assert numbers(parts(narrow, "text", "remark")[0], "y")[0] < centre(mark)[1] - 8


def test_a_remark_that_does_not_fit_gets_a_line_of_its_own() -> None:
    remark = "? not enough data, need n = 130,000,000, or more"
    svg = lane_plot(FRAME, [lane(5.0, under="against full fine-tuning", remark=remark), lane(1.0)], NARROW)
    assert texts(svg, "remark") == ["against full fine-tuning", "5.0", remark, "1.0 good"]
    marks = [centre(found)[1] for found in markers(svg) if "soft" in found.attrib["class"]]
    lines = [numbers(found, "y")[0] for found in parts(svg, "text", "remark")]
    assert lines == sorted(lines)
    assert lines[2] < marks[0] - 8 < marks[0] + 8 < lines[3] - 10


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_long_words_stay_in_the_plot(width: float) -> None:
    svg = lane_plot(FRAME, [lane(5.0, name="W" * 200, under="x" * 300, remark="y" * 300)], width)
    for found in parts(svg, "text", "name") + parts(svg, "text", "remark") + parts(svg, "text", "figure"):
        assert numbers(found, "x")[0] + width_of(found.text or "", 12) <= width


def test_the_ends_of_the_axis_are_named() -> None:
    svg = lane_plot(FRAME, [lane(5.0)], WIDE)
    assert {"← low", "score", "high →"} <= set(texts(svg))
