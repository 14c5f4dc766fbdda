from tests.evaluation.report import records
from tuningfork.evaluation.comparison import ComparisonRecord
from tuningfork.evaluation.comparison import TestRow as Row
from tuningfork.evaluation.report.flips import MOST_CHARACTERS, MOST_OF_A_TEXT, Pair, flips
from tuningfork.evaluation.report.ranking import ranked, row_means

RECORD = records.classification()


def pair_of(record: ComparisonRecord, candidate: str, most: int = 20) -> Pair:
    return next(
        pair for pair in flips(record, ranked(record), most) if pair.difference.candidate == candidate
    )


def test_a_case_shows_the_row_its_target_and_both_answers() -> None:
    pair = pair_of(RECORD, "LoRA")
    assert {case.number - 1 for case in pair.cases} <= {
        *pair.difference.flips_better,
        *pair.difference.flips_worse,
    }
    contestants = {each.name: each for each in RECORD.contestants}
    for case in pair.cases:
        row = case.number - 1
        assert [(name, text.shown) for name, text in case.inputs] == list(RECORD.rows[row].inputs.items())
        assert tuple(text.shown for text in case.targets) == RECORD.rows[row].targets
        assert case.is_better == (row in pair.difference.flips_better)
        assert case.candidate.score == row_means(contestants["LoRA"])[row]
        assert case.baseline.score == row_means(contestants["text prompt"])[row]
        said = [seed.predictions[row] for seed in contestants["LoRA"].seeds]
        assert {answer.text.shown: answer.num_seeds for answer in case.candidate.answers} == {
            words: said.count(words) for words in said
        }
        assert [answer.num_seeds for answer in case.candidate.answers] == sorted(
            (answer.num_seeds for answer in case.candidate.answers), reverse=True
        )


def test_the_largest_differences_come_first_and_both_kinds_are_shown() -> None:
    pair = pair_of(RECORD, "few-shot", most=4)
    assert len(pair.cases) == 4
    assert pair.num_flips > 4
    kinds = [case.is_better for case in pair.cases]
    assert kinds.count(True) >= 2
    pair = pair_of(records.generation(), "prompt tuning", most=6)
    sizes = [abs(case.candidate.score - case.baseline.score) for case in pair.cases]
    assert sizes == sorted(sizes, reverse=True)
    assert {case.is_better for case in pair.cases} == {True, False}
    every = pair_of(records.generation(), "prompt tuning", most=1000)
    for is_better in (True, False):
        all_sizes = [
            abs(case.candidate.score - case.baseline.score)
            for case in every.cases
            if case.is_better == is_better
        ]
        shown = [size for size, case in zip(sizes, pair.cases, strict=True) if case.is_better == is_better]
        assert shown == sorted(all_sizes, reverse=True)[: len(shown)]


def test_where_one_kind_is_rare_the_other_fills_the_room() -> None:
    pair = pair_of(RECORD, "no prompt", most=10)
    assert len(pair.cases) == min(10, pair.num_flips)


def test_long_texts_are_cut_and_the_rest_is_counted() -> None:
    pair = pair_of(records.awkward(), records.NASTY)
    case = next(case for case in pair.cases if case.number == 2)
    text = dict(case.inputs)["text"]
    assert len(text.shown) == MOST_OF_A_TEXT
    assert text.num_more == len("🌱🪴 " * 4000) - MOST_OF_A_TEXT


def test_all_texts_together_stay_within_bounds() -> None:
    rows = tuple(Row(inputs={"text": "word " * 3000}, targets=row.targets) for row in RECORD.rows)
    found = flips(RECORD.model_copy(update={"rows": rows}), ranked(RECORD))
    total = sum(len(text.shown) for pair in found for case in pair.cases for _, text in case.inputs)
    assert all(pair.cases for pair in found)
    assert MOST_CHARACTERS / 2 < total <= MOST_CHARACTERS


def test_pairs_without_a_flip_are_left_out() -> None:
    none = [each.model_copy(update={"flips_better": (), "flips_worse": ()}) for each in RECORD.differences]
    assert flips(RECORD.model_copy(update={"differences": tuple(none)}), ranked(RECORD)) == []
