import pytest

from tests.evaluation.report import records
from tuningfork.evaluation.comparison import TEXT_PROMPT, ContestantRecord, SeedRecord
from tuningfork.evaluation.report.ranking import (
    absent,
    mean_of,
    ordered,
    ranked,
    row_means,
    seed_mean,
    title_of,
    verdict_text,
)

RECORD = records.classification()


def test_the_best_score_comes_first() -> None:
    present = ranked(RECORD)
    means = [one.mean for one in present]
    assert means == sorted(means, reverse=True)
    assert [one.number for one in present] == list(range(1, 10))
    assert present[0].label == "1 TF-IDF + logistic regression"


def test_the_lowest_score_comes_first_where_lower_is_better() -> None:
    present = ranked(RECORD.model_copy(update={"higher_is_better": False}))
    assert present[0].name == "no prompt"


def test_equal_scores_are_ranked_as_the_verdict_ranks_them() -> None:
    def tied(one: ContestantRecord) -> ContestantRecord:
        cost = one.cost and one.cost.model_copy(update={"stored_bytes": 5 if one.name == "LoRA" else 90})
        return one.model_copy(update={"mean": 0.5, "cost": cost})

    record = RECORD.model_copy(update={"contestants": tuple(map(tied, RECORD.contestants))})
    present = ranked(record)
    assert present[0].name == "LoRA"
    others = [one.name for one in record.contestants if one.status == "measured" and one.name != "LoRA"]
    assert [one.name for one in present[1:]] == others


def test_each_is_joined_with_its_difference_to_the_text_prompt() -> None:
    for one in ranked(RECORD):
        if one.name == TEXT_PROMPT:
            assert one.difference is None
        else:
            assert one.difference is not None
            assert (one.difference.candidate, one.difference.baseline) == (one.name, TEXT_PROMPT)


def test_what_was_not_measured_is_absent() -> None:
    present = ranked(RECORD)
    assert [each.status for each in absent(RECORD, present)] == ["left out", "failed"]


def test_a_mean_that_is_not_recorded_is_that_over_seeds() -> None:
    lora = next(each for each in RECORD.contestants if each.name == "LoRA")
    assert mean_of(lora.model_copy(update={"mean": None})) == pytest.approx(lora.mean)


def test_the_mean_of_a_seed_is_weighed() -> None:
    seed = SeedRecord(seed=0, predictions=("a", "b"), scores=(1.0, 0.0))
    assert seed_mean(seed) == 0.5
    assert seed_mean(seed.model_copy(update={"weights": (3.0, 1.0)})) == 0.75
    assert seed_mean(seed.model_copy(update={"weights": (0.0, 0.0)})) == 0.5


def test_a_row_counts_by_its_mean_over_seeds() -> None:
    one = SeedRecord(seed=0, predictions=("a", "b"), scores=(1.0, 0.0))
    two = SeedRecord(seed=1, predictions=("a", "b"), scores=(1.0, 1.0))
    contestant = RECORD.contestants[0].model_copy(update={"seeds": (one, two)})
    assert row_means(contestant) == [1.0, 0.5]


def test_a_verdict_is_a_sign_and_words() -> None:
    difference = RECORD.differences[0]
    expected = {
        "better": "▲ better",
        "worse": "▼ worse",
        "equivalent": "= equivalent",
        "not enough data": "? not enough data, need n = 1,300",
    }
    for verdict, words in expected.items():
        changed = difference.model_copy(update={"verdict": verdict, "needed_rows": 1300})
        assert verdict_text(changed) == words
    unknown = difference.model_copy(update={"verdict": "not enough data", "needed_rows": None})
    assert verdict_text(unknown) == "? not enough data"
    for rows, shown in ((7, "n = 7"), (4498, "n = 4,500"), (2_000_000, "n > 1,000,000")):
        needing = unknown.model_copy(update={"needed_rows": rows})
        assert verdict_text(needing) == f"? not enough data, need {shown}"
    seeds = unknown.model_copy(update={"needed_seeds": 9})
    assert verdict_text(seeds) == "? not enough data, need 9 seeds"
    either = seeds.model_copy(update={"needed_rows": 130})
    assert verdict_text(either) == "? not enough data, need n = 130 or 9 seeds"


def test_differences_to_the_text_prompt_come_first_by_rank() -> None:
    found = ordered(RECORD.model_copy(update={"differences": RECORD.differences[::-1]}), ranked(RECORD))
    assert [title_of(each) for each in found] == [
        *[one.name for one in ranked(RECORD) if one.name != TEXT_PROMPT],
        " against ".join(one.name for one in ranked(RECORD)[:2]),
    ]
