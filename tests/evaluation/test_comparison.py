import json

import pytest
from pydantic import ValidationError

from tuningfork.evaluation.comparison import ContestantRecord, CostRecord, CurvePoint, SeedRecord

COST = CostRecord(
    seconds=1.5, processor_seconds=2.5, peak_memory_bytes=10, trained_parameters=3, stored_bytes=12
)
SEED = SeedRecord(seed=1, predictions=("a", "b"), scores=(1.0, 0.0), probabilities=((0.75, 0.25), (0.5, 0.5)))


def test_a_contestant_is_read_back_as_it_was_written() -> None:
    record = ContestantRecord(
        name="prompt tuning",
        family="soft",
        status="measured",
        setting={"rate": 0.3},
        seeds=(SEED,),
        cost=COST,
    )
    assert ContestantRecord.model_validate_json(record.model_dump_json()) == record


def test_an_unbounded_interval_is_read_back_from_strict_json() -> None:
    point = CurvePoint(
        contestant="x", num_train=1, num_seeds=1, mean=0.5, low=float("-inf"), high=float("inf")
    )
    written = point.model_dump_json()
    json.loads(written, parse_constant=pytest.fail)
    assert CurvePoint.model_validate_json(written) == point


@pytest.mark.parametrize(
    ("given", "place"),
    [({"family": "magic"}, "family"), ({"unheard_of": 1}, "unheard_of"), ({"status": "won"}, "status")],
)
def test_what_a_record_does_not_know_is_refused(given: dict[str, object], place: str) -> None:
    known = {"name": "x", "family": "soft", "status": "measured"}
    with pytest.raises(ValidationError, match=place):
        ContestantRecord.model_validate(known | given)
