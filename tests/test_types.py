import re
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.types import TrainingRow


@given(st.data())
def test_labels_anywhere_after_the_first_token_are_allowed(data: st.DataObject) -> None:
    ids = tuple(data.draw(st.lists(st.integers(0, 9), min_size=2, max_size=12)))
    positions = data.draw(st.sets(st.integers(1, len(ids) - 1), min_size=1))
    row = TrainingRow(ids, tuple(sorted(positions)))
    assert row.ids == ids
    assert set(row.label_positions) == positions


def test_a_row_without_labels_is_refused() -> None:
    with pytest.raises(ValueError, match="a training row needs at least one label position"):
        TrainingRow((1, 2, 3), ())


@pytest.mark.parametrize("positions", [(0,), (0, 2), (-1,), (3,), (1, 3)])
def test_labels_outside_the_row_or_without_context_are_refused(positions: tuple[int, ...]) -> None:
    expected = re.escape(f"label positions must lie in 1..2, found {positions}")
    with pytest.raises(ValueError, match=expected):
        TrainingRow((7, 8, 9), positions)


def test_a_row_is_an_immutable_value() -> None:
    row = TrainingRow((1, 2), (1,))
    assert row == TrainingRow((1, 2), (1,))
    assert len({row, TrainingRow((1, 2), (1,)), TrainingRow((1, 3), (1,))}) == 2
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'ids'"):
        setattr(row, "ids", ())  # noqa: B010


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"word_positions": (0,), "tags": ()}, "1 words need a tag each, found 0"),
        ({"word_positions": (0, 3), "tags": (0, 0)}, "words to tag must lie in 0..2, found"),
        ({"word_positions": (-1,), "tags": (0,)}, "words to tag must lie in 0..2, found"),
        ({"word_positions": (0,), "tags": (0,), "label_positions": (1,)}, "or words to tag, found both"),
    ],
)
def test_words_to_tag_lie_in_the_row_and_have_a_tag_each(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingRow(**{"ids": (5, 6, 7), "label_positions": (), **fields})
