import pytest

from tests.evaluation.report import records
from tests.evaluation.report.drawings import centre, markers, parts, texts
from tuningfork.evaluation.comparison import CurvePoint
from tuningfork.evaluation.report.curves import curves
from tuningfork.evaluation.report.ranking import ranked

RECORD = records.classification()


def test_there_is_a_plot_for_each_curve_by_rank() -> None:
    plots = curves(RECORD, ranked(RECORD))
    titles = [texts(svg, "name")[0] for svg in plots]
    assert titles[:3] == ["1 TF-IDF + logistic regression", "2 full fine-tuning", "3 LoRA"]
    assert len(plots) == 6
    assert all(len(parts(svg, "polyline", "behind")) == 5 for svg in plots)
    assert len({parts(svg, "title")[0].attrib["id"] for svg in plots}) == 6


def test_points_stand_at_their_examples_and_scores_whatever_their_order() -> None:
    mixed = RECORD.model_copy(update={"curves": RECORD.curves[::-1]})
    assert curves(mixed, ranked(mixed)) == curves(RECORD, ranked(RECORD))
    svg = curves(RECORD, ranked(RECORD))[0]
    middles = [centre(found) for found in markers(svg)][:4]
    xs, ys = zip(*middles, strict=True)
    # Logarithmic: 8, 16 and 32 are one factor apart.
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.3)
    assert list(ys) == sorted(ys, reverse=True)
    assert texts(svg, "tick")[-4:] == ["8", "16", "32", "48"]


def test_the_band_reaches_from_low_to_high() -> None:
    svg = curves(RECORD, ranked(RECORD))[0]
    (area,) = parts(svg, "polygon", "area")
    corners = [tuple(map(float, pair.split(","))) for pair in area.attrib["points"].split()]
    points = [point for point in RECORD.curves if point.contestant == "TF-IDF + logistic regression"]
    middles = [centre(found) for found in markers(svg)][:4]
    unit = (middles[0][1] - middles[3][1]) / (points[3].mean - points[0].mean)
    for (x, high), (_, y), point in zip(corners[:4], middles, points, strict=True):
        assert y - high == pytest.approx(unit * (point.high - point.mean), abs=1)
        low = next(v for u, v in corners[4:] if u == x)
        assert low - y == pytest.approx(unit * (point.mean - point.low), abs=1)


def test_one_number_of_examples_is_a_point_and_no_band() -> None:
    point = CurvePoint(contestant="LoRA", num_train=8, num_seeds=1, mean=0.5, low=0.5, high=0.5)
    (svg,) = curves(RECORD.model_copy(update={"curves": (point,)}), ranked(RECORD))
    assert parts(svg, "polygon", "area") == []
    assert texts(svg, "tick")[-1] == "8"


def test_labels_of_near_numbers_are_left_out_rather_than_overlap() -> None:
    near = tuple(
        CurvePoint(contestant="LoRA", num_train=number, num_seeds=1, mean=0.5, low=0.4, high=0.6)
        for number in (1000, 1001, 1002, 2000)
    )
    (svg,) = curves(RECORD.model_copy(update={"curves": near}), ranked(RECORD))
    assert texts(svg, "tick")[-2:] == ["1,000", "2,000"]


def test_without_curves_there_are_no_plots() -> None:
    assert curves(RECORD.model_copy(update={"curves": ()}), ranked(RECORD)) == []
