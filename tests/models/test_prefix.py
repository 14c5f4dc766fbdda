import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tuningfork.models.classification_head import ClassificationHead
from tuningfork.models.prefix import (
    PrefixState,
    align_right,
    backward_into,
    cache_layers,
    expand_prefix,
    new_cache,
    split_prefix,
)

HEADS, SIZE = 2, 4


def pair(tokens: int, *, rows: int = 1, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    keys, values = torch.randn(2, rows, HEADS, tokens, SIZE, generator=generator)
    return keys, values


@given(st.lists(st.integers(1, 7), min_size=1, max_size=5))
def test_alignment_moves_all_padding_to_the_front(lengths: list[int]) -> None:
    keys, values = pair(max(lengths), rows=len(lengths))
    aligned = align_right([None, (keys, values)], torch.tensor(lengths))
    assert aligned[0] is None
    assert aligned[1] is not None
    for before, after in zip((keys, values), aligned[1], strict=True):
        assert after.shape == before.shape
        for row, length in enumerate(lengths):
            assert torch.equal(after[row, :, max(lengths) - length :], before[row, :, :length])


def test_one_prefix_is_expanded_without_a_copy() -> None:
    keys, values = pair(3)
    state = PrefixState(3, ((keys, values), None))
    for prefixes in ([state], [state] * 5):
        expanded, padding = expand_prefix(prefixes, 5, torch.float32)
        assert padding is None
        assert expanded[0] is not None
        assert expanded[1] is None
        for before, after in zip((keys, values), expanded[0], strict=True):
            assert after.shape == (5, HEADS, 3, SIZE)
            assert after.stride(0) == 0
            assert after.data_ptr() == before.data_ptr()


@given(st.lists(st.integers(0, 4), min_size=2, max_size=6), st.data())
def test_several_prefixes_stand_one_in_front_of_each_row(lengths: list[int], data: st.DataObject) -> None:
    states = [
        PrefixState(length, (pair(length, seed=length + 10 * place), None) if length else ())
        for place, length in enumerate(lengths)
    ]
    drawn = data.draw(st.lists(st.sampled_from(states), min_size=2, max_size=8))
    expanded, padding = expand_prefix(drawn, len(drawn), torch.float32)
    longest = max(state.num_tokens for state in drawn)
    if not longest:
        assert expanded in ([], [None, None])
        return
    assert expanded[0] is not None
    assert expanded[1:] == [None]
    missing = [longest - state.num_tokens for state in drawn]
    assert (padding is None) == (not any(missing))
    assert padding is None or padding.tolist() == missing
    for row, state in enumerate(drawn):
        for side in (0, 1):
            found = expanded[0][side][row]
            assert found.shape == (HEADS, longest, SIZE)
            assert not found[:, : missing[row]].any()
            if state.layers:
                own = state.layers[0]
                assert own is not None
                assert torch.equal(found[:, missing[row] :], own[side][0])


def test_prefixes_that_fit_neither_all_rows_nor_each_are_refused() -> None:
    two = PrefixState(2, (pair(2),))
    with pytest.raises(ValueError, match=r"3 rows need 1 prefix or 3, found 2"):
        expand_prefix([two, two], 3, torch.float32)


def test_a_prefix_is_cut_out_of_the_batch_it_was_read_in() -> None:
    keys, values = pair(5, rows=3)
    states = torch.randn(3, 5, 4)
    begun = PrefixState(0, virtual=torch.ones(2, 4))
    cut = split_prefix(begun, [None, (keys, values)], states, 1, 3)
    assert cut.num_tokens == 3
    assert cut.virtual is begun.virtual
    assert cut.layers[0] is None
    assert cut.layers[1] is not None
    assert torch.equal(cut.layers[1][0], keys[1:2, :, :3])
    assert torch.equal(cut.layers[1][1], values[1:2, :, :3])
    assert cut.states is not None
    assert torch.equal(cut.states, states[1, :3])


def test_a_cache_takes_the_prefix_as_it_is_and_appends_to_it() -> None:
    keys, values = pair(3)
    cache = new_cache([(keys, values), None])
    assert cache.get_seq_length() == 3
    assert cache_layers(cache)[1] is None
    held = cache_layers(cache)[0]
    assert held is not None
    assert held[0].data_ptr() == keys.data_ptr()
    assert held[1].data_ptr() == values.data_ptr()
    more = pair(2, seed=1)
    appended, _ = cache.update(*more, 0)
    assert torch.equal(appended, torch.cat([keys, more[0]], dim=2))
    assert keys.shape[2] == 3


def test_an_empty_cache_keeps_every_token_of_every_layer() -> None:
    cache = new_cache()
    for layer in range(2):
        cache.update(*pair(4, seed=layer), layer)
    assert cache.get_seq_length() == 4
    assert cache.is_sliding == [False, False]
    assert [held is not None and held[0].shape[2] for held in cache_layers(cache)] == [4, 4]


def test_detached_leaves_collect_only_the_gradients_that_the_prompt_needs() -> None:
    keys, values = pair(3)
    state = PrefixState(3, ((keys.requires_grad_(), values), None))
    leaves = state.detached()
    assert leaves.num_tokens == 3
    assert leaves.layers[1] is None
    assert [tensor.requires_grad for tensor in leaves.tensors()] == [True, False]
    assert all(tensor.is_leaf for tensor in leaves.tensors())
    assert torch.equal(leaves.tensors()[0], keys)


def test_a_head_is_among_what_is_detached_and_collects_gradients() -> None:
    weight = torch.ones(3, 4, requires_grad=True)
    state = PrefixState(3, (pair(3),), head=ClassificationHead(weight * 2, torch.zeros(3)))
    leaves = state.detached()
    assert leaves.head is not None
    for factor in (1.0, 10.0):
        torch.autograd.backward((leaves.head.weight * factor).sum())
    assert weight.grad is None
    backward_into(state, leaves)
    assert weight.grad is not None
    assert torch.equal(weight.grad, torch.full((3, 4), 22.0))
    assert leaves.head.bias.grad is None


def test_gradients_of_micro_batches_go_through_the_prompt_once() -> None:
    virtual = torch.randn(3, SIZE, generator=torch.Generator().manual_seed(1), requires_grad=True)
    state = PrefixState(3, embeddings=virtual * 2)
    leaves = state.detached()
    for factor in (1.0, 10.0):
        torch.autograd.backward((leaves.tensors()[0] * factor).sum())
    assert virtual.grad is None
    backward_into(state, leaves)
    assert virtual.grad is not None
    assert torch.equal(virtual.grad, torch.full((3, SIZE), 22.0))
