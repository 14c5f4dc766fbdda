import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.data.example import Example
from tuningfork.data.views import ExampleView

EXAMPLES = [Example({"text": str(number)}) for number in range(10)]


@given(st.lists(st.integers(0, 9)), st.slices(20))
def test_a_view_behaves_like_the_list_of_its_examples(positions: list[int], part: slice) -> None:
    view = ExampleView(EXAMPLES, positions)
    expected = [EXAMPLES[position] for position in positions]
    assert list(view) == expected
    assert len(view) == len(expected)
    assert [view[index] for index in range(-len(view), len(view))] == expected * 2
    assert list(view[part]) == expected[part]


def test_a_view_of_a_view_looks_at_the_examples() -> None:
    view = ExampleView(ExampleView(EXAMPLES, [9, 8, 7]), [2, 0])
    assert list(view) == [EXAMPLES[7], EXAMPLES[9]]
    assert repr(view) == "ExampleView(2 of 10 examples)"


def test_a_position_outside_is_refused() -> None:
    with pytest.raises(IndexError, match="out of range"):
        ExampleView(EXAMPLES, [1])[1]
