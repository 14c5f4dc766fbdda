import pytest

from tuningfork.tuning.soft.row_parts import input_of, shared_ending
from tuningfork.types import TrainingRow


@pytest.mark.parametrize(("labels", "expected"), [((3, 4), 3), ((1, 4), 4), ((1, 2, 4), 4)])
def test_the_input_is_what_stands_before_the_last_answer(labels: tuple[int, ...], expected: int) -> None:
    row = TrainingRow((10, 11, 12, 13, 14), labels)
    assert input_of(row) == row.ids[:expected]


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ([], 0),
        ([[1, 2]], 2),
        ([[1, 2], [3, 2]], 1),
        ([[1, 2], [2, 1]], 0),
        ([[7, 5, 6], [8, 7, 5, 6], [5, 6]], 2),
    ],
)
def test_a_shared_ending_is_counted_from_behind(inputs: list[list[int]], expected: int) -> None:
    assert shared_ending(inputs) == expected
