from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tuningfork.training.arguments import Schedule, TrainingArguments
from tuningfork.training.schedules import learning_rate_at

SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)
schedules = st.sampled_from(SCHEDULES)


def arguments(
    schedule: Schedule, *, max_steps: int = 100, warmup_steps: int = 0, learning_rate: float = 0.2
) -> TrainingArguments:
    return TrainingArguments(
        learning_rate=learning_rate, max_steps=max_steps, warmup_steps=warmup_steps, schedule=schedule
    )


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("constant", {0: 0.2, 25: 0.2, 50: 0.2, 99: 0.2, 100: 0.2, 500: 0.2}),
        ("linear", {0: 0.2, 25: 0.15, 50: 0.1, 99: 0.002, 100: 0.0, 500: 0.0}),
        ("cosine", {0: 0.2, 25: 0.1 + 0.1 * 0.5**0.5, 50: 0.1, 75: 0.1 - 0.1 * 0.5**0.5, 100: 0.0, 500: 0.0}),
    ],
)
def test_the_rate_falls_as_the_schedule_says(schedule: Schedule, rates: dict[int, float]) -> None:
    found = {step: learning_rate_at(step, arguments(schedule)) for step in rates}
    assert found == pytest.approx(rates, abs=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_rate_rises_in_equal_parts_during_warmup(schedule: Schedule) -> None:
    warming = arguments(schedule, warmup_steps=4, learning_rate=1.0)
    rates = [learning_rate_at(step, warming) for step in range(5)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_half_of_what_follows_the_warmup_is_half_the_rate(schedule: Schedule) -> None:
    assert learning_rate_at(60, arguments(schedule, warmup_steps=20)) == pytest.approx(0.1)


@given(
    schedule=schedules,
    max_steps=st.integers(1, 300),
    warmup_steps=st.integers(0, 40),
    rate=st.floats(1e-5, 10),
)
def test_the_rate_rises_then_never_rises_again(
    schedule: Schedule, max_steps: int, warmup_steps: int, rate: float
) -> None:
    shape = arguments(schedule, max_steps=max_steps, warmup_steps=warmup_steps, learning_rate=rate)
    rates = [learning_rate_at(step, shape) for step in range(max(max_steps, warmup_steps) + 1)]
    assert all(0 <= value <= rate for value in rates)
    assert all(earlier < later for earlier, later in pairwise(rates[: warmup_steps + 1]))
    assert all(earlier >= later for earlier, later in pairwise(rates[warmup_steps:]))
    assert rates[warmup_steps] == pytest.approx(rate)


@given(schedule=schedules, max_steps=st.integers(1, 300), warmup_steps=st.integers(0, 40))
def test_no_step_is_wasted_on_a_rate_of_0(schedule: Schedule, max_steps: int, warmup_steps: int) -> None:
    assume(warmup_steps < max_steps)
    shape = arguments(schedule, max_steps=max_steps, warmup_steps=warmup_steps)
    assert all(learning_rate_at(step, shape) > 0 for step in range(max_steps))
    end = learning_rate_at(max_steps, shape)
    assert end == pytest.approx(shape.learning_rate if schedule == "constant" else 0.0, abs=1e-12)
