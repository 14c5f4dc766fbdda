import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.models.path import SamplingOptions, TokenChooser

LOGITS = torch.tensor([0.0, 3.0, 1.0, 2.0, -1.0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1, found 0"),
        ({"temperature": -0.5}, "temperature must be 0 or more, found -0.5"),
        ({"top_p": 0.0}, "top_p must be above 0 and at most 1, found 0.0"),
        ({"top_p": 1.5}, "top_p must be above 0 and at most 1, found 1.5"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SamplingOptions(**options)  # type: ignore[arg-type]


def test_temperature_zero_takes_the_most_likely_token() -> None:
    choose = TokenChooser(SamplingOptions(max_new_tokens=2), [0, 1])
    assert choose.step(torch.stack([LOGITS, -LOGITS])) == [1, 4]
    assert choose.tokens == [[1], [4]]
    assert not choose.is_done
    choose.step(torch.stack([LOGITS, LOGITS]))
    assert choose.tokens == [[1, 1], [4, 1]]
    assert choose.is_done


def test_an_end_token_ends_its_row_alone_and_is_not_returned() -> None:
    choose = TokenChooser(SamplingOptions(max_new_tokens=3, end_ids=frozenset({4})), [0, 0])
    choose.step(torch.stack([LOGITS, LOGITS]))
    choose.step(torch.stack([-LOGITS, LOGITS]))
    choose.step(torch.stack([LOGITS, LOGITS]))
    assert choose.tokens == [[1], [1, 1, 1]]
    assert choose.is_done


def test_one_row_at_a_time_gives_the_same_as_all_rows_at_once() -> None:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(6, 2, 5, generator=generator)
    options = SamplingOptions(max_new_tokens=6, temperature=1.3, top_p=0.9, end_ids=frozenset({2}))
    together, alone = TokenChooser(options, [7, 8]), TokenChooser(options, [7, 8])
    for step in logits:
        together.step(step)
    for row in range(2):
        for step in logits:
            if not alone.step_row(row, step[row]):
                break
    assert together.tokens == alone.tokens
    assert together.tokens != [[], []]


@pytest.mark.parametrize(("top_p", "kept"), [(0.5, {1}), (0.8, {1, 3}), (0.97, {1, 2, 3, 0}), (1e-9, {1})])
def test_top_p_keeps_the_smallest_set_with_that_probability(top_p: float, kept: set[int]) -> None:
    options = SamplingOptions(max_new_tokens=400, temperature=1.0, top_p=top_p)
    choose = TokenChooser(options, [0])
    while not choose.is_done:
        choose.step(LOGITS[None])
    assert set(choose.tokens[0]) == kept


def test_tokens_are_drawn_with_their_probabilities() -> None:
    count = 3000
    choose = TokenChooser(SamplingOptions(max_new_tokens=count, temperature=2.0), [11])
    while not choose.is_done:
        choose.step(LOGITS[None])
    found = torch.bincount(torch.tensor(choose.tokens[0]), minlength=5) / count
    expected = (LOGITS / 2.0).softmax(dim=-1)
    # Five standard errors of a proportion.
    assert bool(((found - expected).abs() <= 5 * (expected * (1 - expected) / count).sqrt()).all())


@given(st.integers(0, 2**32), st.floats(0.0, 1.0))
def test_a_draw_ignores_that_rounding_swaps_ranks(seed: int, least: float) -> None:
    options = SamplingOptions(max_new_tokens=1, temperature=1.0)
    logits = torch.tensor([least, 1.0, 1.0, 1.0])
    swapped = logits + torch.tensor([0.0, -1e-7, 0.0, 1e-7])
    chosen = [TokenChooser(options, [seed]).step(values[None]) for values in (logits, swapped)]
    assert chosen[0] == chosen[1]
