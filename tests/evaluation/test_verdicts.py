from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from tuningfork.evaluation.comparison import TEXT_PROMPT, ContestantRecord, CostRecord, Family, SeedRecord
from tuningfork.evaluation.multiple import holm
from tuningfork.evaluation.pooled_scores import row_values
from tuningfork.evaluation.statistics import paired_difference
from tuningfork.evaluation.two_level import seeds_difference
from tuningfork.evaluation.verdicts import Judgement, judge_contestants

Scores = NDArray[np.float64]


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def contestant(
    name: str,
    scores: ArrayLike,
    *,
    family: Family = "soft",
    stored_bytes: int | None = None,
    seconds: float = 1.0,
    weights: Sequence[Sequence[float]] | None = None,
) -> ContestantRecord:
    seeds = tuple(
        SeedRecord(
            seed=index,
            predictions=("",) * len(row),
            scores=tuple(map(float, row)),
            weights=None if weights is None else tuple(weights[index]),
        )
        for index, row in enumerate(np.asarray(scores))
    )
    cost = None
    if stored_bytes is not None:
        cost = CostRecord(
            seconds=seconds,
            processor_seconds=0,
            peak_memory_bytes=0,
            trained_parameters=0,
            stored_bytes=stored_bytes,
        )
    return ContestantRecord(name=name, family=family, status="measured", seeds=seeds, cost=cost)


def text_prompt(scores: ArrayLike, **arguments: Any) -> ContestantRecord:
    return contestant(TEXT_PROMPT, scores, family="words", **arguments)


def judge(contestants: Sequence[ContestantRecord], **changes: Any) -> Judgement:
    arguments: dict[str, Any] = {
        "metric_name": "accuracy",
        "digits": 3,
        "higher_is_better": True,
        "maximum": 1.0,
        "margin": None,
        "rng": generator(),
    }
    return judge_contestants(contestants, **(arguments | changes))


def answers(
    rng: np.random.Generator, difficulty: Scores, seeds: int = 1, gain: float = 0.0, spread: float = 0.1
) -> Scores:
    """Pass/fail scores (R, N)."""
    effects = spread * rng.normal(size=(seeds, 1)) if seeds > 1 else 0.0
    noise = 0.7 * rng.normal(size=(seeds, len(difficulty)))
    return np.asarray(difficulty + gain + effects + noise > 0, dtype=np.float64)


def four(seed: int = 1, n: int = 150) -> list[ContestantRecord]:
    rng = generator(seed)
    difficulty = rng.normal(size=n)
    return [
        text_prompt(answers(rng, difficulty, gain=-0.6)),
        contestant("prompt tuning", answers(rng, difficulty, 5, 0.2)),
        contestant("LoRA", answers(rng, difficulty, 5, 0.25), family="weights"),
        contestant("no prompt", answers(rng, difficulty, gain=-1.2), family="words"),
    ]


def test_each_meets_the_text_prompt_and_the_best_meets_each() -> None:
    found = judge(four())
    pairs = [(d.candidate, d.baseline) for d in found.differences]
    assert pairs == [
        ("LoRA", TEXT_PROMPT),
        ("prompt tuning", TEXT_PROMPT),
        ("no prompt", TEXT_PROMPT),
        ("LoRA", "prompt tuning"),
        ("LoRA", "no prompt"),
    ]
    verdicts = [d.verdict for d in found.differences]
    assert verdicts == ["better", "better", "worse", "not enough data", "better"]
    assert [d.covers for d in found.differences] == ["method", "method", "artefact", "method", "method"]


def test_p_values_are_adjusted_for_all_pairs_together() -> None:
    contestants = four()
    found = judge(contestants)
    scores = {one.name: np.array([seed.scores for seed in one.seeds]) for one in contestants}
    names = ["LoRA", "prompt tuning", TEXT_PROMPT, "no prompt"]
    all_p = [
        seeds_difference(scores[one], scores[other], bounds=(0, 1), rng=generator()).p
        for i, one in enumerate(names)
        for other in names[i + 1 :]
    ]
    by_pair = {(d.candidate, d.baseline): d for d in found.differences}
    adjusted = holm(all_p)
    # Pairs in the order above: the first is LoRA against prompt tuning, the second against the text prompt.
    assert by_pair["LoRA", "prompt tuning"].adjusted_p == pytest.approx(adjusted[0], rel=0.3)
    assert by_pair["LoRA", TEXT_PROMPT].adjusted_p == pytest.approx(adjusted[1], rel=0.3)
    smallest = min(found.differences, key=lambda d: d.p)
    assert smallest.adjusted_p == pytest.approx(6 * smallest.p)


def test_a_difference_that_is_clear_by_itself_may_not_be_among_many() -> None:
    rng = generator(3)
    base = np.zeros(200)
    base[:100] = 1
    better = base.copy()
    better[100:109] = 1
    better[:2] = 0
    pair = judge([text_prompt([base]), contestant("tuned", [better])])
    assert pair.differences[0].verdict == "better"
    others = [contestant(f"other {i}", [base[rng.permutation(200)]]) for i in range(4)]
    many = judge([text_prompt([base]), contestant("tuned", [better]), *others])
    found = next(d for d in many.differences if (d.candidate, d.baseline) == ("tuned", TEXT_PROMPT))
    assert found.verdict == "not enough data"
    assert found.low > 0
    assert found.adjusted_p > 0.05 > found.p
    assert "after correction for 15 pairs" in found.sentence
    alone = pair.differences[0].needed_rows
    assert found.needed_rows is not None
    assert alone is not None
    assert found.needed_rows > max(alone, 200)


def test_one_pair_is_the_paired_difference() -> None:
    rng = generator(4)
    ours, theirs = ((rng.random(80) < share).astype(float) for share in (0.7, 0.6))
    (found,) = judge([contestant("tuned", [ours]), text_prompt([theirs])], margin=0.1).differences
    expected = paired_difference(ours, theirs, margin=0.1, bounds=(0, 1), rng=generator())
    assert (found.mean, found.low, found.high) == (
        expected.mean,
        expected.interval.low,
        expected.interval.high,
    )
    inner = expected.equivalence_interval
    assert (found.equivalence_low, found.equivalence_high) == (inner.low, inner.high)
    assert (found.p, found.adjusted_p, found.mcnemar_p) == (expected.p, expected.p, expected.mcnemar_p)
    assert (found.verdict, found.needed_rows) == (expected.verdict, expected.needed_n)
    assert list(found.flips_better) == expected.flips_better
    assert list(found.flips_worse) == expected.flips_worse
    assert (found.covers, found.num_rows, found.margin) == ("artefact", 80, 0.1)


def test_equal_contestants_are_equivalent_within_the_margin() -> None:
    same = [[1.0, 0.0] * 200]
    found = judge([text_prompt(same), contestant("tuned", same), contestant("other", same)], margin=0.05)
    assert {d.verdict for d in found.differences} == {"equivalent"}
    close = judge([text_prompt(same), contestant("tuned", same), contestant("other", same)], margin=0.008)
    assert {d.verdict for d in close.differences} == {"not enough data"}
    # By itself each would be: 1 - 0.05 ** (1 / 400) is 0.0075.
    assert {d.equivalence_high < 0.008 for d in close.differences} == {True}


def test_of_equals_the_smaller_one_is_best_whatever_its_time() -> None:
    same = [[1.0, 0.0, 1.0, 1.0]]
    contestants = [
        contestant("large", same, stored_bytes=900),
        contestant("small", same, stored_bytes=20, seconds=9.0),
        contestant("unknown", same),
        text_prompt([[0.0] * 4], stored_bytes=0),
    ]
    for order in (contestants, contestants[::-1]):
        best = {d.candidate for d in judge(order).differences if d.baseline != TEXT_PROMPT}
        assert best == {"small"}


def test_a_lower_score_can_be_the_better_one() -> None:
    rng = generator(5)
    base = rng.random(100) * 4 + 1
    found = judge(
        [text_prompt([base]), contestant("tuned", [base - 0.8 + 0.3 * rng.random(100)])],
        metric_name="log-loss",
        higher_is_better=False,
        maximum=float("inf"),
    )
    (difference,) = found.differences
    assert (difference.candidate, difference.verdict) == ("tuned", "better")
    assert difference.mean < 0
    assert len(difference.flips_better) == 100
    assert found.headline.startswith("Tuned did best: log-loss ")


def test_what_was_not_measured_takes_no_part() -> None:
    failed = ContestantRecord(name="IA3", family="weights", status="failed", reason="out of memory")
    found = judge([*four(), failed])
    assert "IA3" not in found.intervals
    assert all("IA3" not in (d.candidate, d.baseline) for d in found.differences)
    assert found.headline == judge(four()).headline


def test_rows_weigh_as_much_as_they_count_for() -> None:
    scores, weights = [[1.0, 0.5, 0.0, 1.0]], [[1.0, 4.0, 0.0, 3.0]]
    text = [[0.0, 0.5, 1.0, 1.0]]
    found = judge(
        [contestant("tuned", scores, weights=weights), text_prompt(text, weights=weights)],
        metric_name="entity_f1",
    )
    assert found.intervals["tuned"].mean == pytest.approx((1 + 2 + 3) / 8)
    assert 0 <= found.intervals["tuned"].low <= found.intervals["tuned"].high <= 1
    (difference,) = found.differences
    assert difference.num_rows == 3
    values = [row_values([row[0][i] for i in (0, 1, 3)], [1.0, 4.0, 3.0]) for row in (scores, text)]
    assert difference.mean == pytest.approx(np.mean(values[0]) - np.mean(values[1]))
    # Flips are numbered as the rows of the test split, and count for themselves.
    assert (difference.flips_better, difference.flips_worse) == ((0,), (2,))


def test_flips_are_of_the_mean_over_seeds() -> None:
    tuned = contestant("tuned", [[1, 0, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]])
    (found,) = judge([tuned, text_prompt([[0, 0, 1, 0]])]).differences
    assert (found.flips_better, found.flips_worse) == ((0, 1), (2,))
    assert found.mcnemar_p is None


def test_a_contestant_trained_once_is_said_to_be() -> None:
    rng = generator(6)
    difficulty = rng.normal(size=60)
    once = contestant("LoRA", answers(rng, difficulty), family="weights")
    notes = judge([once, text_prompt(answers(rng, difficulty))]).notes
    assert any("Trained with one seed: LoRA." in note for note in notes)
    assert not any("one seed" in note for note in judge(four()).notes)
    assert any("all 6 pairs" in note for note in judge(four()).notes)


def test_a_contestant_left_untrained_by_held_out_rows_is_said_to_be() -> None:
    rng = generator(6)
    difficulty = rng.normal(size=60)
    start = contestant("prefix tuning", answers(rng, difficulty)).model_copy(update={"setting": {"steps": 0}})
    notes = judge([start, text_prompt(answers(rng, difficulty))]).notes
    assert any(note.startswith("Not trained in the end: prefix tuning. ") for note in notes)
    assert not any("one seed" in note for note in notes)
    trained = start.model_copy(update={"setting": {"steps": 10}})
    notes = judge([trained, text_prompt(answers(rng, difficulty))]).notes
    assert not any("Not trained" in note for note in notes)


@pytest.mark.parametrize(
    ("contestants", "message"),
    [
        ([text_prompt([[1.0]]), text_prompt([[0.0]])], "contestants need names of their own"),
        ([text_prompt([[1.0]]), contestant("a", [[0.0, 1.0]])], "contestants need the same test rows"),
        ([text_prompt([[1.0, float("nan")]])], "not a finite number"),
    ],
)
def test_what_cannot_be_compared_is_refused(contestants: list[ContestantRecord], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        judge(contestants)


@pytest.mark.parametrize("change", [{"margin": 0.0}, {"margin": -0.1}, {"level": 0.5}, {"level": 1.0}])
def test_margins_and_levels_that_make_no_sense_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"the {next(iter(change))}.*must be .*, found"):
        judge(four(), **change)


def alarms(simulations: int, n: int) -> int:
    """How many comparisons of six equal contestants call any two of them different."""
    rng, found = generator(8), 0
    for _ in range(simulations):
        difficulty = rng.normal(size=n)
        contestants = [text_prompt(answers(rng, difficulty))]
        contestants += [contestant(f"tuned {i}", answers(rng, difficulty, 5)) for i in range(3)]
        contestants += [contestant(f"other {i}", answers(rng, difficulty)) for i in range(2)]
        verdicts = {d.verdict for d in judge(contestants, rng=rng).differences}
        found += bool(verdicts & {"better", "worse"})
    return found


def test_six_equal_contestants_are_rarely_told_apart() -> None:
    # Of 60 comparisons at 5 %, more than 7 are seen once in 100.
    assert alarms(60, 40) <= 7


@pytest.mark.slow
def test_any_false_verdict_on_six_equal_contestants_is_as_rare_as_it_says() -> None:
    # Of 250 comparisons at 5 %, more than 22 are seen once in 200.
    assert alarms(250, 120) <= 22


def test_a_metric_of_the_whole_split_is_judged_by_its_values_and_flips_by_its_rows() -> None:
    rng = np.random.default_rng(0)
    scores = (rng.random((2, 60)) < 0.5).astype(float)
    text, tuned = (contestant(name, [row]) for name, row in zip((TEXT_PROMPT, "tuned"), scores, strict=True))

    def with_values(one: ContestantRecord, shift: float) -> ContestantRecord:
        (seed,) = one.seeds
        values = tuple(float(v) for v in rng.normal(shift, 0.1, 60))
        return one.model_copy(update={"seeds": (seed.model_copy(update={"values": values}),)})

    judged = judge_contestants(
        [with_values(text, 0.3), with_values(tuned, 0.8)],
        metric_name="macro_f1",
        digits=3,
        higher_is_better=True,
        maximum=1.0,
        margin=None,
        rng=rng,
    )
    (difference,) = judged.differences
    assert difference.verdict == "better"
    assert difference.mean == pytest.approx(0.5, abs=0.06)
    assert difference.mcnemar_p is None
    assert difference.flips_better == tuple(np.flatnonzero(scores[1] > scores[0]))
    assert judged.intervals["tuned"].mean == pytest.approx(0.8, abs=0.04)
