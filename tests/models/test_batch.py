import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.models.batch import batches_by_length, pad_rows

CPU = torch.device("cpu")
ragged_rows = st.lists(st.lists(st.integers(1, 99), min_size=1, max_size=12), min_size=1, max_size=9)


@given(ragged_rows)
def test_padding_stands_behind_every_row(rows: list[list[int]]) -> None:
    batch = pad_rows(rows, device=CPU)
    assert batch.ids.shape == (len(rows), max(len(row) for row in rows))
    assert batch.lengths.tolist() == [len(row) for row in rows]
    for ids, row in zip(batch.ids.tolist(), rows, strict=True):
        assert ids[: len(row)] == row
        assert not any(ids[len(row) :])


def test_rows_may_be_ranges_or_tuples() -> None:
    assert pad_rows([range(2, 4), (7,)], device=CPU).ids.tolist() == [[2, 3], [7, 0]]


@pytest.mark.parametrize("rows", [[], [[4], []]])
def test_empty_rows_are_refused(rows: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="every row needs at least one token"):
        pad_rows(rows, device=CPU)


@given(st.lists(st.integers(1, 30), max_size=40), st.integers(1, 9))
def test_every_row_is_in_one_batch_beside_rows_of_similar_length(lengths: list[int], batch_size: int) -> None:
    batches = batches_by_length(lengths, batch_size)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(1 <= len(batch) <= batch_size for batch in batches)
    in_order = [lengths[index] for batch in batches for index in batch]
    assert in_order == sorted(lengths)


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_holds_at_least_one_row(batch_size: int) -> None:
    with pytest.raises(ValueError, match=f"batch_size must be at least 1, found {batch_size}"):
        batches_by_length([3, 4], batch_size)
