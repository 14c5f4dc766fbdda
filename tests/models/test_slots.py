"""Rows in memory that is allocated ahead, against a list of rows."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers.cache_utils import DynamicLayer

from tuningfork.models.late import EmptySlots
from tuningfork.models.slots import RowSlots

HEADS, SIZE = 2, 3
LIKE = torch.zeros(1, HEADS, 1, SIZE)


def row_of(length: int, seed: int) -> Tensor:
    """Keys (1, A, S, D) of a row, all of them different; values are their negatives."""
    return torch.arange(HEADS * length * SIZE).reshape(1, HEADS, length, SIZE) + 1.0 + 1000 * seed


def join(slots: RowSlots, row: Tensor) -> None:
    slots.join([(row, -row), None], [row.shape[2]])


def step(slots: RowSlots, new: Tensor) -> tuple[Tensor, Tensor]:
    """Run tokens (B, A, t, D) through the layer that keeps keys and values."""
    slots.open(new.shape[2])
    shown = slots.update(new, -new, 0)
    slots.commit(new.shape[2])
    return shown


def assert_holds(slots: RowSlots, rows: list[Tensor]) -> None:
    assert slots.lengths == [row.shape[2] for row in rows]
    assert slots.num_slots == slots.get_seq_length() == max(slots.lengths, default=0)
    layer = slots.layers[0]
    assert isinstance(layer, DynamicLayer)
    assert layer.keys is not None
    assert layer.values is not None
    assert torch.isfinite(layer.keys).all()
    for place, row in enumerate(rows):
        start = slots.num_slots - row.shape[2]
        assert torch.equal(layer.keys[place : place + 1, :, start:], row)
        assert torch.equal(layer.values[place : place + 1, :, start:], -row)


ACTION = st.one_of(
    st.tuples(st.just("join"), st.integers(1, 90)),
    st.tuples(st.just("step"), st.integers(1, 40)),
    st.tuples(st.just("leave"), st.sets(st.integers(0, 6), max_size=4)),
)


@settings(deadline=None)
@given(st.lists(ACTION, max_size=25))
def test_rows_stay_what_they_are_whoever_comes_and_goes(actions: list[tuple[str, object]]) -> None:
    slots, rows = RowSlots([(LIKE, LIKE), None]), list[Tensor]()
    for seed, (kind, value) in enumerate(actions):
        if kind == "join":
            assert isinstance(value, int)
            rows.append(row_of(value, seed))
            join(slots, rows[-1])
        elif kind == "step" and rows:
            assert isinstance(value, int)
            new = row_of(value, seed).repeat(len(rows), 1, 1, 1)
            new += torch.arange(len(rows))[:, None, None, None]
            keys, values = step(slots, new)
            rows = [torch.cat([row, new[place : place + 1]], dim=2) for place, row in enumerate(rows)]
            assert torch.equal(keys, -values)
        elif kind == "leave":
            assert isinstance(value, set)
            slots.leave(value)
            rows = [row for place, row in enumerate(rows) if place not in value]
        assert_holds(slots, rows)


def test_several_rows_join_at_once_without_their_padding() -> None:
    slots = RowSlots([(LIKE, LIKE), None])
    both = torch.cat([row_of(5, 1), row_of(5, 2)])
    slots.join([(both, -both), None], [5, 3])
    assert_holds(slots, [both[:1], both[1:, :, 2:]])


def test_what_was_run_and_not_committed_is_forgotten() -> None:
    slots, row = RowSlots([(LIKE, LIKE), None]), row_of(4, 1)
    join(slots, row)
    slots.open(1)
    lost = row_of(1, 7)
    slots.update(lost, -lost, 0)
    kept = row_of(1, 8)
    step(slots, kept)
    assert_holds(slots, [torch.cat([row, kept], dim=2)])


def test_memory_is_given_back() -> None:
    slots = RowSlots([(LIKE, LIKE), None])
    for length in (5000, 3):
        join(slots, row_of(length, length))
    large = slots.num_bytes
    slots.leave([0])
    # What a long row took goes when rows are moved, at the latest when others come.
    for seed in range(8):
        join(slots, row_of(3, seed))
    assert slots.num_bytes < large / 4
    slots.leave(range(9))
    assert (slots.num_bytes, slots.lengths) == (0, [])


@pytest.mark.parametrize("is_given", [True, False])
def test_slots_are_hidden_row_by_row_in_the_layers_that_leave_them_out(is_given: bool) -> None:
    slots = RowSlots([(LIKE, LIKE), (LIKE, LIKE)])
    for length, empty in ((5, EmptySlots(frozenset({0}), 2)), (3, None), (4, EmptySlots(frozenset({0}), 1))):
        row = row_of(length, length)
        slots.join([(row, -row)] * 2, [length], empty)
    slots.open(1)
    states = torch.zeros(3, 1, 8)
    mask = torch.ones(3, 1, 1, 6, dtype=torch.bool) if is_given else None
    _, hidden = slots.redirect(0, states, mask)
    assert hidden is not None
    seen = hidden[:, 0, 0] if is_given else hidden[:, 0, 0] == 0
    assert seen.int().tolist() == [[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1], [1, 0, 1, 1, 1, 1]]
    assert slots.redirect(1, states, mask) == (states, mask)
