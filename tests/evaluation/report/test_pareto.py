from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.evaluation.report import records
from tests.evaluation.report.drawings import centre, markers, numbers, parts, texts
from tuningfork.evaluation.comparison import ComparisonRecord
from tuningfork.evaluation.report.lanes import NARROW, WIDE
from tuningfork.evaluation.report.pareto import (
    COST_AXES,
    Point,
    cost_scale,
    front,
    known_axes,
    pareto,
    points_on,
)
from tuningfork.evaluation.report.ranking import Ranked, ranked
from tuningfork.evaluation.report.words import width_of

RECORD = records.classification()
AXES = {axis.key: axis for axis in COST_AXES}


def with_costs(record: ComparisonRecord, **changes: object) -> ComparisonRecord:
    """The record with costs changed for all."""
    changed = [
        each.model_copy(update={"cost": each.cost.model_copy(update=changes)}) if each.cost else each
        for each in record.contestants
    ]
    return record.model_copy(update={"contestants": tuple(changed)})


def points(pairs: list[tuple[int, int]]) -> list[Point]:
    contestant = RECORD.contestants[0]
    return [Point(Ranked(at, contestant, mean, None), cost) for at, (cost, mean) in enumerate(pairs)]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12), st.booleans())
def test_the_front_is_what_nothing_beats_in_both(pairs: list[tuple[int, int]], higher: bool) -> None:
    best = {(point.cost, point.one.mean) for point in front(points(pairs), higher_is_better=higher)}
    sign = 1 if higher else -1
    for cost, mean in pairs:
        beaten = any(
            (other <= cost and sign * score > sign * mean) or (other < cost and sign * score >= sign * mean)
            for other, score in pairs
        )
        assert ((cost, mean) in best) == (not beaten)


def test_the_front_is_marked_by_rings_around_its_markers() -> None:
    svg = pareto(RECORD, ranked(RECORD), AXES["seconds"], WIDE)
    rings = [centre(ring) for ring in parts(svg, "circle", "ring")]
    best = front(points_on(AXES["seconds"], ranked(RECORD)), higher_is_better=True)
    assert [point.one.name for point in best] == ["text prompt", "TF-IDF + logistic regression"]
    assert len(rings) == 2
    middles = [centre(found) for found in markers(svg)]
    assert all(any(abs(x - a) < 1 and abs(y - b) < 1 for a, b in middles) for x, y in rings)


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("axis", COST_AXES, ids=lambda axis: axis.key)
def test_better_is_higher_and_cheaper_is_further_left(width: float, axis: object) -> None:
    present = ranked(RECORD)
    svg = pareto(RECORD, present, axis, width)  # type: ignore[arg-type]
    middles = [centre(found) for found in markers(svg)]
    assert [y for _, y in middles] == sorted(y for _, y in middles)
    costs = [point.cost for point in points_on(axis, present)]  # type: ignore[arg-type]
    for (one, (x, _)), (other, (u, _)) in combinations(zip(costs, middles, strict=True), 2):
        if max(one, other) > 2 * min(one, other):
            assert (one < other) == (x < u)


def test_the_better_one_is_higher_too_where_lower_is_better() -> None:
    record = RECORD.model_copy(update={"higher_is_better": False})
    svg = pareto(record, ranked(record), AXES["seconds"], WIDE)
    middles = [centre(found)[1] for found in markers(svg)]
    assert middles == sorted(middles)
    assert ranked(record)[0].name == "no prompt"
    assert any("lower is better" in line for line in texts(svg))


def test_whiskers_reach_from_low_to_high() -> None:
    present = ranked(RECORD)
    svg = pareto(RECORD, present, AXES["seconds"], WIDE)
    whiskers = [sorted(numbers(each, "y1", "y2")) for each in parts(svg, "line", "thin")]
    middles = [centre(found)[1] for found in markers(svg)]
    unit = (middles[-1] - middles[0]) / (present[0].mean - present[-1].mean)
    for one, (top, bottom), middle in zip(present, whiskers, middles, strict=True):
        assert one.contestant.high is not None
        assert one.contestant.low is not None
        assert middle - top == pytest.approx(unit * (one.contestant.high - one.mean), abs=1)
        assert bottom - middle == pytest.approx(unit * (one.mean - one.contestant.low), abs=1)


def test_costs_are_logarithmic_where_they_span_much_and_zero_has_its_place() -> None:
    wide = cost_scale([0.0, 1.0, 100.0], 50, 650, 70)
    assert wide.is_log
    assert wide.zero is not None
    assert 50 <= wide(0.0) < wide.start - 20 < wide(1.0) < wide(100.0) <= 650
    assert cost_scale([1.0, 100.0], 50, 650, 70).zero is None
    near = cost_scale([0.0, 10.0, 100.0], 50, 650, 70)
    assert not near.is_log
    assert near(0.0) == 50


def test_the_axis_of_trained_parameters_is_broken_at_zero() -> None:
    svg = pareto(RECORD, ranked(RECORD), AXES["parameters"], WIDE)
    ticks = texts(svg, "tick")
    assert "0" in ticks
    assert "100 k" in ticks
    axis = [found for found in parts(svg, "line", "axis") if "y1" in found.attrib]
    assert len(axis) == 5


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_twelve_contestants_that_cost_the_same_are_all_seen_and_named(width: float) -> None:
    base = RECORD.contestants[4]
    same = tuple(
        base.model_copy(update={"name": f"contestant with a long name, number {at}"}) for at in range(12)
    )
    record = RECORD.model_copy(update={"contestants": same, "differences": ()})
    svg = pareto(record, ranked(record), AXES["seconds"], width)
    places = [centre(found) for found in markers(svg)]
    assert len(set(places)) == 12
    labels = parts(svg, "text", "halo")
    assert len(labels) == 12
    boxes = []
    for label in labels:
        x, y = numbers(label, "x", "y")
        boxes.append((x, y - 11, x + width_of(label.text or "", 12), y + 3))
    for one, other in combinations(boxes, 2):
        apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
        assert apart, (one, other)
    assert all(box[0] >= 0 and box[2] <= width for box in boxes)


def test_only_axes_that_say_something_are_offered() -> None:
    assert [axis.key for axis in known_axes(ranked(RECORD))] == list(AXES)
    free = with_costs(RECORD, money_per_1000_calls=None, latency_p50_seconds=None, stored_bytes=0)
    assert [axis.key for axis in known_axes(ranked(free))] == ["seconds", "parameters"]


def test_the_text_that_stands_for_the_plot_says_all_of_it() -> None:
    (description,) = parts(pareto(RECORD, ranked(RECORD), AXES["seconds"], WIDE), "desc")
    words = description.text or ""
    assert "LoRA: 0.827 at 2 min 23 s" in words
    assert words.endswith(
        "Nothing is both cheaper and better than: text prompt, TF-IDF + logistic regression."
    )


def test_money_says_its_currency() -> None:
    assert any("EUR" in line for line in texts(pareto(RECORD, ranked(RECORD), AXES["money"], WIDE)))


def test_a_line_to_a_name_is_drawn_under_the_markers() -> None:
    base = RECORD.contestants[4]
    same = tuple(base.model_copy(update={"name": f"a rather long name, number {at}"}) for at in range(8))
    record = RECORD.model_copy(update={"contestants": same, "differences": ()})
    drawn = [
        found.attrib.get("class", "")
        for found in parts(pareto(record, ranked(record), AXES["seconds"], WIDE), "*")
    ]
    last_leader = max(at for at, class_ in enumerate(drawn) if class_ == "leader")
    assert last_leader < min(at for at, class_ in enumerate(drawn) if "marker" in class_)


def test_prices_on_the_axis_are_as_short_as_they_can_be() -> None:
    ticks = texts(pareto(RECORD, ranked(RECORD), AXES["money"], WIDE), "tick")
    assert ticks[-3:] == ["0.0001", "0.001", "0.01"]
