from typing import Any

import pytest
from pydantic import ValidationError

from tests.library.run_examples import prompt_record, run_record, tune_result
from tuningfork.library.run_records import Record, RunRecord, TuneOptions
from tuningfork.training.arguments import TrainingArguments


@pytest.mark.parametrize(
    "record", [run_record(methods=("a", "b"), limit=3), prompt_record("soft"), tune_result()]
)
def test_records_come_back_from_json_equal(record: Record) -> None:
    assert type(record).model_validate_json(record.model_dump_json()) == record


@pytest.mark.parametrize(("length", "expected"), [(None, ()), (3, (3,))])
def test_runs_that_name_one_start_and_one_length_are_still_read(
    length: int | None, expected: tuple[int, ...]
) -> None:
    read = TuneOptions.model_validate({"initialization": "labels", "num_virtual_tokens": length})
    assert (read.initializations, read.num_virtual_tokens) == (("labels",), expected)


def test_unknown_fields_are_refused_and_known_ones_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="learning_rate\n  Extra inputs are not permitted"):
        TuneOptions.model_validate({"learning_rate": 0.1})
    with pytest.raises(ValidationError, match="Instance is frozen"):
        prompt_record("soft").kind = "text"
    with pytest.raises(ValidationError, match="origin"):
        RunRecord.model_validate({**run_record().model_dump(), "origin": "elsewhere"})


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("max_steps", 0, "greater than or equal to 1"),
        ("num_virtual_tokens", (2, 0), "greater than 0"),
        ("patience", -1, "greater than or equal to 0"),
        ("schedule", "step", "Input should be 'constant', 'linear' or 'cosine'"),
        ("limit", 0, "greater than or equal to 1"),
        ("learning_rates", (0.0,), "greater than 0"),
        ("learning_rates", (0.1, float("nan")), "finite number"),
    ],
)
def test_impossible_options_are_refused(field: str, value: Any, expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        TuneOptions.model_validate({field: value})


def test_defaults_are_those_of_the_training_they_shape() -> None:
    options, arguments = TuneOptions(), TrainingArguments(learning_rate=0.1)
    for name in ("schedule", "weight_decay", "patience", "seed"):
        assert getattr(options, name) == getattr(arguments, name)
