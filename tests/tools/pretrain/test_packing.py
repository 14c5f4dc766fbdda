from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.pretrain import packing
from tools.pretrain.rendering import Rendered

LENGTH, PADDING, END = 32, 1, 0
lengths = st.lists(st.integers(min_value=1, max_value=LENGTH), min_size=1, max_size=300)


def conversations(sizes: list[int]) -> list[Rendered]:
    """Conversations whose tokens name them, closed by the end mark."""
    return [Rendered([index + 2] * (size - 1) + [END], [1.0] * size) for index, size in enumerate(sizes)]


@given(lengths)
def test_every_conversation_is_there_once_and_whole(sizes: list[int]) -> None:
    made = conversations(sizes)
    found: list[list[int]] = []
    for ids, _ in packing.pack(made, LENGTH, PADDING):
        current: list[int] = []
        for token in ids:
            current.append(token)
            if token == END:
                found.append(current)
                current = []
        assert all(token == PADDING for token in current)
    assert sorted(found) == sorted(rendered.ids for rendered in made)


@given(lengths)
def test_sequences_have_one_length_and_padding_no_weight(sizes: list[int]) -> None:
    packed = packing.stack(packing.pack(conversations(sizes), LENGTH, PADDING))
    assert packed.tokens.shape == packed.weights.shape
    assert packed.tokens.shape[1] == LENGTH
    assert (packed.weights[packed.tokens == PADDING] == 0).all()
    assert int(packed.weights.astype(int).sum()) == sum(sizes) * packing.WEIGHT_UNIT


def test_little_is_padding() -> None:
    sizes = [int(size) for size in np.random.default_rng(0).integers(4, LENGTH + 1, 3000)]
    packed = packing.stack(packing.pack(conversations(sizes), LENGTH, PADDING))
    assert (packed.tokens != PADDING).mean() > 0.95


def test_a_conversation_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="33 tokens, a sequence 32"):
        list(packing.pack(conversations([33]), LENGTH, PADDING))


def test_a_shard_comes_back_as_it_was(tmp_path: Path) -> None:
    packed = packing.stack(packing.pack(conversations([5, 9, 30]), LENGTH, PADDING))
    packing.save(packed, tmp_path, "train-32-0000")
    again = packing.open_shard(tmp_path, "train-32-0000")
    assert np.array_equal(again.tokens, packed.tokens)
    assert np.array_equal(again.weights, packed.weights)
