import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.training.batching import RowSampler

row_counts = st.integers(1, 40)
batch_sizes = st.integers(1, 50)
seeds = st.integers(0, 2**31)


def batches(sampler: RowSampler, count: int) -> list[list[int]]:
    return [sampler.next_batch() for _ in range(count)]


@given(num_rows=row_counts, batch_size=batch_sizes, seed=seeds)
def test_every_row_comes_once_in_every_epoch(num_rows: int, batch_size: int, seed: int) -> None:
    sampler = RowSampler(num_rows, batch_size, seed=seed)
    drawn = [row for batch in batches(sampler, 3 * num_rows) for row in batch]
    epochs = [drawn[start : start + num_rows] for start in range(0, len(drawn), num_rows)]
    assert len(epochs) >= 3
    for epoch in epochs[:3]:
        assert sorted(epoch) == list(range(num_rows))


@given(num_rows=row_counts, batch_size=batch_sizes, seed=seeds)
def test_every_batch_is_full(num_rows: int, batch_size: int, seed: int) -> None:
    sampler = RowSampler(num_rows, batch_size, seed=seed)
    assert {len(batch) for batch in batches(sampler, 10)} == {min(batch_size, num_rows)}


@given(num_rows=row_counts, batch_size=batch_sizes, seed=seeds, before=st.integers(0, 15))
def test_a_restored_sampler_draws_what_would_have_come(
    num_rows: int, batch_size: int, seed: int, before: int
) -> None:
    sampler = RowSampler(num_rows, batch_size, seed=seed)
    batches(sampler, before)
    state = sampler.state()
    expected = batches(sampler, 12)
    other = RowSampler(num_rows, batch_size, seed=seed + 1)
    for restored in (other, sampler):
        restored.restore(state)
        assert batches(restored, 12) == expected


@given(num_rows=row_counts, batch_size=batch_sizes, seed=seeds)
def test_the_seed_alone_decides(num_rows: int, batch_size: int, seed: int) -> None:
    one, same = (RowSampler(num_rows, batch_size, seed=seed) for _ in range(2))
    assert batches(one, 10) == batches(same, 10)


def test_epochs_and_seeds_differ_in_order() -> None:
    sampler = RowSampler(30, 30, seed=0)
    first, second = batches(sampler, 2)
    assert first != second
    assert RowSampler(30, 30, seed=1).next_batch() != first


def test_a_batch_larger_than_the_data_is_the_whole_data() -> None:
    assert sorted(RowSampler(5, 16, seed=0).next_batch()) == [0, 1, 2, 3, 4]


def test_no_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="there are no rows to draw from"):
        RowSampler(0, 4, seed=0)
