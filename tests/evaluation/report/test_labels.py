from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.evaluation.report.labels import Box, leader, place

BOUNDS = Box(40.0, 10.0, 640.0, 340.0)
POINTS = st.lists(st.tuples(st.floats(50, 630), st.floats(20, 330)), min_size=1, max_size=12)


@given(POINTS, st.floats(20, 150))
def test_labels_cover_neither_each_other_nor_a_marker(
    points: list[tuple[float, float]], width: float
) -> None:
    markers = [Box(x - 6, y - 6, x + 6, y + 6) for x, y in points]
    boxes = place(points, [(width, 15.0)] * len(points), BOUNDS, markers)
    assert all(BOUNDS.contains(box) for box in boxes)
    assert all(one.overlap(other) == 0 for one, other in combinations(boxes, 2))
    assert all(box.overlap(marker) == 0 for box in boxes for marker in markers)


def test_a_label_alone_stands_right_of_its_point_without_a_leader() -> None:
    (box,) = place([(100.0, 100.0)], [(50.0, 15.0)], BOUNDS, [])
    assert box == Box(111.0, 92.5, 161.0, 107.5)
    assert leader(box, 100.0, 100.0) is None


def test_a_label_far_away_has_a_leader_to_its_edge() -> None:
    assert leader(Box(150.0, 90.0, 200.0, 110.0), 100.0, 100.0) == (150.0, 100.0)


def test_a_label_leaves_a_line_free_where_it_can() -> None:
    across = Box(100.0, 99.0, 640.0, 101.0)
    (box,) = place([(100.0, 100.0)], [(50.0, 15.0)], BOUNDS, [], [across])
    assert box.overlap(across) == 0


def test_where_there_is_no_room_labels_cover_as_little_as_they_can() -> None:
    small = Box(0.0, 0.0, 40.0, 30.0)
    boxes = place([(20.0, 15.0)] * 3, [(40.0, 15.0)] * 3, small, [])
    assert all(small.contains(box) for box in boxes)
    with pytest.raises(ValueError, match="does not fit"):
        place([(20.0, 15.0)], [(41.0, 15.0)], small, [])
