"""Choices against plain loops over the vocabulary."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tuningfork.errors import ServingError
from tuningfork.serving import sampling
from tuningfork.serving.requests import SamplingSettings
from tuningfork.serving.sampling import (
    Choice,
    RowSampler,
    check_settings,
    choose,
    narrowed,
    row_log_probabilities,
)

SIZE = 30


def logits_of(seed: int, size: int = SIZE, rows: int | None = None) -> Tensor:
    shape = (size,) if rows is None else (rows, size)
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def sampler(
    *, given: Sequence[int] = (), ends: Sequence[int] = (), grammar: Any = None, **more: Any
) -> RowSampler:
    chosen = SamplingSettings(**{"max_tokens": 50, **more})
    return RowSampler(chosen, given=given, end_ids=frozenset(ends), grammar=grammar)


def token_of(choice: Choice | Exception) -> int | None:
    assert isinstance(choice, Choice)
    return choice.token


def plainly_changed(
    row: Sequence[float], given: Sequence[int], made: Sequence[int], one: SamplingSettings
) -> list[float]:
    changed = []
    for token, value in enumerate(row):
        value += one.logit_bias.get(token, 0.0)
        if token in given or token in made:
            value = value / one.repetition_penalty if value > 0 else value * one.repetition_penalty
        count = Counter(made)[token]
        value -= one.frequency_penalty * count + one.presence_penalty * (count > 0)
        changed.append(value)
    return changed


TOKENS = st.lists(st.integers(0, SIZE - 1), max_size=12)


@settings(deadline=None)
@given(
    TOKENS,
    TOKENS,
    st.floats(-2, 2),
    st.floats(-2, 2),
    st.floats(0.5, 2),
    st.dictionaries(st.integers(0, SIZE - 1), st.floats(-50, 50), max_size=4),
)
def test_penalties_and_biases_are_those_of_a_plain_loop(
    before: list[int],
    made: list[int],
    presence: float,
    frequency: float,
    repetition: float,
    bias: dict[int, float],
) -> None:
    one = sampler(
        given=before,
        presence_penalty=presence,
        frequency_penalty=frequency,
        repetition_penalty=repetition,
        logit_bias=bias,
    )
    for token in made:
        one.accept(token)
    row = logits_of(1)
    kept = row.clone()
    found = one.changed(row)
    assert torch.equal(row, kept)
    assert found.tolist() == pytest.approx(
        plainly_changed(row.tolist(), before, made, one.settings), abs=1e-4
    )


def plainly_kept(row: Sequence[float], one: SamplingSettings) -> set[int]:
    most = max(row)
    kept = [token for token in range(len(row)) if math.exp(row[token] - most) >= one.min_p]
    kept.sort(key=lambda token: -row[token])
    kept = kept[: one.top_k or len(kept)]
    total = sum(math.exp(row[token]) for token in kept)
    nucleus, mass = set(), 0.0
    for token in kept:
        if mass < one.top_p:
            nucleus.add(token)
        mass += math.exp(row[token]) / total
    return nucleus


@pytest.mark.parametrize("ranked_first", [4, 1000])
@settings(deadline=None)
@given(st.integers(0, 99), st.integers(0, SIZE + 5), st.floats(0.01, 1), st.floats(0, 1))
def test_what_is_left_to_draw_from_is_that_of_a_plain_loop(
    ranked_first: int, seed: int, top_k: int, top_p: float, min_p: float
) -> None:
    one = SamplingSettings(1, top_k=top_k, top_p=top_p, min_p=min_p)
    row = logits_of(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "_RANKED_FIRST", ranked_first)
        left = narrowed(row.clone(), one)
    kept = {token for token in range(SIZE) if left[token] > -math.inf}
    assert kept == plainly_kept(row.double().tolist(), one)
    assert all(left[token] == row[token] for token in kept)


@pytest.mark.parametrize("top_p", [0.3, 0.9, 0.999])
def test_many_likely_tokens_are_ranked_until_enough_are(
    top_p: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "_RANKED_FIRST", 4)
    row, one = logits_of(3, 200) / 10, SamplingSettings(1, top_p=top_p)
    left = narrowed(row.clone(), one)
    kept = {token for token in range(200) if left[token] > -math.inf}
    assert kept == plainly_kept(row.double().tolist(), one)
    assert len(kept) > 20


def test_draws_have_the_probabilities_of_the_softmax() -> None:
    row, one = logits_of(3, 6), sampler(temperature=1.5, seed=1)
    drawn = Counter(one.draw(row) for _ in range(20_000))
    expected = (row / 1.5).softmax(dim=-1)
    for token in range(6):
        assert drawn[token] / 20_000 == pytest.approx(float(expected[token]), abs=0.015)


def test_a_seed_draws_the_same_whatever_else_is_chosen() -> None:
    rows = logits_of(5, rows=40)

    def answer(*others: RowSampler) -> list[int | None]:
        one = sampler(seed=9, temperature=0.9, top_p=0.8)
        made = []
        for row in rows:
            choices = choose([*others, one], torch.stack([*[row.flip(0)] * len(others), row]))
            made.append(token_of(choices[-1]))
        return made

    alone = answer()
    assert len(set(alone)) > 5
    assert answer(sampler(seed=9), sampler(temperature=0), sampler()) == alone
    assert [token_of(choose([sampler()], row[None])[0]) for row in rows] != alone


def test_rounding_of_the_logits_hardly_changes_a_draw() -> None:
    rows = logits_of(5, size=5000, rows=300)
    noise = 1e-6 * logits_of(6, size=5000, rows=300)
    first, second = sampler(seed=2), sampler(seed=2)
    assert [first.draw(row) for row in rows] == [second.draw(row) for row in rows + noise]


def test_without_a_seed_answers_differ() -> None:
    rows = logits_of(5, rows=20)
    one, two = sampler(), sampler()
    assert [one.draw(row) for row in rows] != [two.draw(row) for row in rows]


@pytest.mark.parametrize("seed", [-1, 0, 2**63, 2**64 + 3])
def test_every_whole_number_is_a_seed(seed: int) -> None:
    row = logits_of(5)
    assert sampler(seed=seed).draw(row) == sampler(seed=seed).draw(row)


@pytest.mark.parametrize("temperature", [0, 1e-9])
def test_the_likeliest_token_is_taken_where_nothing_is_drawn(temperature: float) -> None:
    rows = logits_of(7, rows=5)
    samplers = [sampler(temperature=temperature) for _ in rows]
    assert [token_of(choice) for choice in choose(samplers, rows)] == rows.argmax(dim=-1).tolist()


def test_an_answer_does_not_end_before_it_may() -> None:
    row = logits_of(1)
    end, second = row.argsort(descending=True)[:2].tolist()
    one = sampler(temperature=0, min_tokens=2, ends=[end])
    for _ in range(2):
        assert token_of(choose([one], row[None])[0]) == second
        one.accept(second)
    assert token_of(choose([one], row[None])[0]) == end
    assert one.ends(end)
    assert not one.ends(second)


def test_ends_may_be_ignored_but_not_those_that_were_asked_for() -> None:
    one = sampler(ignores_end=True, ends=[3], stop_token_ids=frozenset({4}))
    assert [one.ends(token) for token in (3, 4)] == [False, True]


class Only:
    """Allows some tokens, of a vocabulary that may be smaller or larger than the model's."""

    def __init__(self, tokens: Sequence[int], size: int = SIZE) -> None:
        self.mask = torch.zeros(size, dtype=torch.bool)
        self.mask[list(tokens)] = True
        self.accepted: list[int] = []

    def allowed(self) -> Tensor:
        return self.mask

    def accept(self, token: int) -> None:
        self.accepted.append(token)


@pytest.mark.parametrize("size", [SIZE, SIZE - 3, SIZE + 3])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_only_what_a_grammar_allows_comes(temperature: float, size: int) -> None:
    grammar = Only([2, 11], size)
    one = sampler(temperature=temperature, grammar=grammar, logit_bias={5: 100.0})
    made = [token_of(choose([one], logits_of(seed)[None])[0]) for seed in range(20)]
    assert set(made) == {2, 11}
    one.accept(11)
    assert grammar.accepted == [11]


def test_an_answer_is_over_where_nothing_may_come() -> None:
    assert token_of(choose([sampler(grammar=Only([]))], logits_of(1)[None])[0]) is None
    # An end that is too early comes where there is nothing else.
    one = sampler(grammar=Only([8]), ends=[8], min_tokens=5)
    assert token_of(choose([one], logits_of(1)[None])[0]) == 8


def test_what_one_grammar_raises_is_its_own_outcome() -> None:
    class Broken(Only):
        def allowed(self) -> Tensor:
            raise RuntimeError("lost")

    rows = logits_of(1, rows=2)
    broken, good = choose([sampler(grammar=Broken([])), sampler(temperature=0)], rows)
    assert isinstance(broken, RuntimeError)
    assert token_of(good) == int(rows[1].argmax())


def test_log_probabilities_are_of_the_logits_as_they_were() -> None:
    row = logits_of(1)
    one = sampler(temperature=0, logit_bias={4: 100.0}, num_top=3)
    (choice,) = choose([one], row[None])
    assert isinstance(choice, Choice)
    assert choice.log_probability is not None
    expected = row.log_softmax(dim=-1)
    assert choice.log_probability.token == 4
    assert choice.log_probability.log_probability == pytest.approx(float(expected[4]))
    values, order = expected.topk(3)
    assert choice.log_probability.top == tuple(zip(order.tolist(), values.tolist(), strict=True))
    (unknown,) = row_log_probabilities(row[None], [-2], 0)
    assert (unknown.log_probability, unknown.top) == (None, ())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_tokens": -1}, "max_tokens must be at least 0, found -1"),
        ({"temperature": -0.1}, "temperature must be at least 0, found -0.1"),
        ({"temperature": math.nan}, "temperature must be at least 0, found nan"),
        ({"temperature": math.inf}, "temperature must be at least 0, found inf"),
        ({"top_p": 0.0}, "top_p must be above 0 and at most 1, found 0"),
        ({"top_p": 1.1}, "top_p must be above 0 and at most 1, found 1.1"),
        ({"top_k": -1}, "top_k must be at least 0, found -1"),
        ({"min_p": 2.0}, "min_p must be at least 0 and at most 1, found 2"),
        ({"min_tokens": 51}, "min_tokens must be at least 0 and at most 50, found 51"),
        ({"num_top": SIZE + 1}, f"num_top must be at least 0 and at most {SIZE}, found {SIZE + 1}"),
        ({"repetition_penalty": 0.0}, "repetition_penalty must be above 0, found 0"),
        ({"presence_penalty": math.nan}, "presence_penalty must be a number, found nan"),
        ({"logit_bias": {SIZE: 1.0}}, f"token {SIZE} is not in the model's vocabulary of {SIZE}"),
        ({"logit_bias": {1: math.nan}}, "logit_bias must map tokens to finite numbers, found nan"),
        ({"logit_bias": {1: math.inf}}, "logit_bias must map tokens to finite numbers, found inf"),
        ({"stop_token_ids": frozenset({-1})}, f"token -1 is not in the model's vocabulary of {SIZE}"),
        ({"stop": ("a", "")}, "a stop text must not be empty"),
    ],
)
def test_a_setting_out_of_range_is_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ServingError) as raised:
        check_settings(SamplingSettings(**{"max_tokens": 50, **wrong}), SIZE)
    assert str(raised.value) == message


def test_neutral_settings_change_nothing() -> None:
    check_settings(SamplingSettings(50), SIZE)
    row = logits_of(1)
    assert not sampler().changes_logits
    assert torch.equal(narrowed(row.clone(), SamplingSettings(50)), row)
