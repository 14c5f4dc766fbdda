import pytest
from pydantic import ValidationError

from tuningfork.recipes.judge_records import JudgedRow, JudgeRecord

RECORD = JudgeRecord(
    created="2030-01-01T00:00:00+00:00",
    task="tea",
    judge="judge-1",
    host="localhost",
    criterion="Be kind.",
    scale=(1, 5),
    num_rows=1,
    rows=(JudgedRow(row=0, answer="text prompt", score=None, reason="no judgement, but hm"),),
    calls=1,
    cached_calls=0,
    money=None,
    currency="",
)


def test_a_record_is_read_back_as_it_was_written() -> None:
    assert JudgeRecord.model_validate_json(RECORD.model_dump_json()) == RECORD


def test_what_a_record_does_not_know_is_refused() -> None:
    with pytest.raises(ValidationError, match="unheard_of"):
        JudgeRecord.model_validate(RECORD.model_dump() | {"unheard_of": 1})
