import pytest
from pydantic import ValidationError

from tuningfork.evaluation.comparison import ContestantRecord, CostRecord, SeedRecord

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


@pytest.mark.parametrize(
    ("given", "place"),
    [({"family": "magic"}, "family"), ({"unheard_of": 1}, "unheard_of"), ({"status": "won"}, "status")],
)
def test_what_a_record_does_not_know_is_refused(given: dict[str, object], place: str) -> None:
    known = {"name": "x", "family": "soft", "status": "measured"}
    with pytest.raises(ValidationError, match=place):
        ContestantRecord.model_validate(known | given)
