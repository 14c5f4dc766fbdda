from typing import Any

import pytest

from tuningfork.training.arguments import TrainingArguments

COUNTS = ("max_steps", "batch_size", "micro_batch_size", "validate_every", "checkpoint_every")
AMOUNTS = ("warmup_steps", "weight_decay", "max_gradient_norm", "patience")


@pytest.mark.parametrize("rate", [0.0, -0.1, float("nan")])
def test_a_learning_rate_must_be_above_0(rate: float) -> None:
    with pytest.raises(ValueError, match=f"learning_rate must be above 0, found {rate}"):
        TrainingArguments(learning_rate=rate)


@pytest.mark.parametrize("field", COUNTS)
@pytest.mark.parametrize("value", [0, -3])
def test_counts_start_at_1(field: str, value: int) -> None:
    wrong: dict[str, Any] = {field: value}
    with pytest.raises(ValueError, match=f"^{field} must be at least 1, found {value}"):
        TrainingArguments(learning_rate=0.1, **wrong)


@pytest.mark.parametrize("field", AMOUNTS)
def test_amounts_start_at_0(field: str) -> None:
    wrong: dict[str, Any] = {field: -1}
    with pytest.raises(ValueError, match=f"^{field} must be 0 or more, found -1"):
        TrainingArguments(learning_rate=0.1, **wrong)


def test_an_unknown_schedule_is_refused() -> None:
    unknown: Any = "polynomial"
    with pytest.raises(
        ValueError, match="schedule must be one of constant, linear, cosine, found 'polynomial'"
    ):
        TrainingArguments(learning_rate=0.1, schedule=unknown)


def test_the_smallest_values_are_allowed() -> None:
    smallest: dict[str, Any] = {**dict.fromkeys(COUNTS, 1), **dict.fromkeys(AMOUNTS, 0)}
    arguments = TrainingArguments(learning_rate=1e-9, **smallest)
    assert {field: getattr(arguments, field) for field in smallest} == smallest
