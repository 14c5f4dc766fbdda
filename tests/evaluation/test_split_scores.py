import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuningfork.evaluation.split_scores import linearised_scores, split_difference, split_interval
from tuningfork.evaluation.statistics import mean_interval, paired_difference
from tuningfork.tasks.answers import Answers
from tuningfork.tasks.split_metrics import SPLIT_METRICS

LABELS = ("a", "b", "c")
MACRO_F1, MCC, LOG_LOSS = (SPLIT_METRICS[name] for name in ("macro_f1", "mcc", "log_loss"))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def drawn(
    generator: np.random.Generator, count: int, *, skill: float = 0.6, gold: list[str] | None = None
) -> Answers:
    """Answers that are right with probability `skill`, and else by chance."""
    right = gold or [LABELS[int(i)] for i in generator.choice(3, count, p=[0.5, 0.3, 0.2])]
    guesses = [LABELS[int(i)] for i in generator.integers(0, 3, count)]
    knows = generator.random(count) < skill
    said = [one if known else guess for one, known, guess in zip(right, knows, guesses, strict=True)]
    shares = generator.dirichlet(np.ones(3), count)
    losses = [-math.log(row[LABELS.index(one)]) for row, one in zip(shares, right, strict=True)]
    return Answers(said, [[one] for one in right], losses, shares.tolist(), LABELS)


def same_words(said: list[str], gold: list[str]) -> Answers:
    return Answers(said, [[one] for one in gold], [0.5] * len(said), None, LABELS)


def test_a_mean_gets_the_intervals_of_a_mean() -> None:
    one, other = drawn(rng(1), 60), drawn(rng(2), 60)
    scores = [LOG_LOSS.row_scores(each) for each in (one, other)]
    ours = split_interval(LOG_LOSS, [one], rng())
    theirs = mean_interval(scores[0], bounds=(0, 700), rng=rng())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=0.01)
    found = split_difference(LOG_LOSS, [one], [other], rng(), margin=0.1)
    means = paired_difference(*scores, bounds=(0, 700), higher_is_better=False, margin=0.1, rng=rng())
    assert found.mean == pytest.approx(means.mean)
    assert (found.interval.low, found.interval.high) == pytest.approx(
        (means.interval.low, means.interval.high), abs=0.02
    )
    assert found.equivalence_interval.width == pytest.approx(means.equivalence_interval.width, rel=0.03)
    assert (found.verdict, found.n, found.margin) == (means.verdict, 60, 0.1)
    assert (found.flips_better, found.flips_worse) == (means.flips_better, means.flips_worse)
    assert found.needed_n == pytest.approx(means.needed_n, rel=0.01)


@settings(max_examples=25)
@given(seed=st.integers(0, 999), count=st.integers(1, 12), name=st.sampled_from(sorted(SPLIT_METRICS)))
def test_small_splits_have_sane_intervals(seed: int, count: int, name: str) -> None:
    metric, generator = SPLIT_METRICS[name], rng(seed)
    one = drawn(generator, count)
    other = drawn(generator, count, gold=one.gold)
    interval = split_interval(metric, [one], rng())
    assert metric.minimum <= interval.low <= metric.of(one) + 1e-9
    assert metric.of(one) - 1e-9 <= interval.high <= metric.maximum
    assert interval.width > 0
    found = split_difference(metric, [one], [other], rng())
    assert found.mean in found.interval
    assert found.interval.low <= found.equivalence_interval.low + 1e-9
    assert math.isfinite(found.interval.width)
    assert found.mcnemar_p is None


@pytest.mark.parametrize("name", ["macro_f1", "mcc", "ece", "brier", "perplexity"])
def test_linearised_scores_have_the_metric_as_their_mean_and_its_spread(name: str) -> None:
    metric = SPLIT_METRICS[name]
    one = drawn(rng(4), 300)
    values = linearised_scores(metric, one)
    assert float(np.mean(values)) == pytest.approx(metric.of(one))
    metrics_of_draws = [metric.of(one.take(rng(s).integers(0, 300, 300).tolist())) for s in range(150)]
    error = float(np.std(values, ddof=1)) / math.sqrt(300)
    assert float(np.std(metrics_of_draws)) == pytest.approx(error, rel=0.2)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    truth = MACRO_F1.of(drawn(rng(0), 60_000))
    held = [truth in split_interval(MACRO_F1, [drawn(rng(s), 40)], rng(s)) for s in range(100)]
    assert 90 <= sum(held) <= 99


def test_equal_prompts_are_seldom_told_apart_and_unequal_ones_are() -> None:
    false, right = 0, 0
    for seed in range(60):
        generator = rng(seed)
        one = drawn(generator, 80)
        equal, better = (drawn(generator, 80, skill=skill, gold=one.gold) for skill in (0.6, 0.9))
        false += split_difference(MACRO_F1, [equal], [one], generator).verdict != "not enough data"
        right += split_difference(MACRO_F1, [better], [one], generator).verdict == "better"
    assert false <= 7
    assert right >= 48


def test_worse_is_higher_where_lower_is_better() -> None:
    one = drawn(rng(1), 80)
    losses = [loss + 0.5 + (-1) ** place / 10 for place, loss in enumerate(one.log_losses or ())]
    worse = Answers(one.predictions, one.references, losses, None, LABELS)
    found = split_difference(LOG_LOSS, [worse], [one], rng())
    assert (found.verdict, found.flips_better, len(found.flips_worse)) == ("worse", [], 80)
    assert found.mean == pytest.approx(0.5)


def test_rows_are_drawn_for_both_sides_at_once() -> None:
    one = drawn(rng(1), 100)
    said = list(one.predictions)
    said[0] = next(label for label in LABELS if label != said[0])
    almost = Answers(said, one.references, one.log_losses, one.probabilities, LABELS)
    paired = split_difference(MACRO_F1, [almost], [one], rng())
    alone = split_interval(MACRO_F1, [one], rng())
    assert paired.interval.width < alone.width / 3
    assert len(paired.flips_better) + len(paired.flips_worse) == 1


def test_answers_that_are_the_same_differ_by_nothing_but_may_elsewhere() -> None:
    one = drawn(rng(1), 20)
    found = split_difference(MACRO_F1, [one], [one], rng(), margin=0.4)
    share = 1 - 0.025 ** (1 / 20)
    assert (found.mean, found.flips_better, found.flips_worse) == (0.0, [], [])
    assert (found.interval.low, found.interval.high) == pytest.approx((-share, share))
    assert found.verdict == "equivalent"
    few = split_difference(MACRO_F1, [one], [one], rng(), margin=0.05)
    assert few.verdict == "not enough data"
    assert few.needed_n is not None
    assert few.needed_n > 20


def test_all_right_is_no_proof_of_perfection() -> None:
    gold = ["a", "b", "c"] * 4
    found = split_interval(MACRO_F1, [same_words(gold, gold)], rng())
    assert (found.low, found.high) == pytest.approx((0.025 ** (1 / 12), 1.0))
    one = split_interval(MCC, [same_words(["a"], ["a"])], rng())
    assert (one.low, one.high) == (-1.0, 1.0)


def test_several_trainings_count_by_their_mean() -> None:
    first = drawn(rng(1), 50)
    second = drawn(rng(2), 50, gold=first.gold)
    both = split_interval(MACRO_F1, [first, second], rng())
    mean = (MACRO_F1.of(first) + MACRO_F1.of(second)) / 2
    assert mean in both
    assert split_interval(MACRO_F1, [first, first], rng()) == split_interval(MACRO_F1, [first], rng())
    assert both.width < split_interval(MACRO_F1, [first], rng()).width
    found = split_difference(MACRO_F1, [first, second], [first], rng())
    assert found.mean == pytest.approx(mean - MACRO_F1.of(first))


def test_equal_generators_give_equal_intervals() -> None:
    one = drawn(rng(1), 30)
    assert split_interval(MCC, [one], rng(5)) == split_interval(MCC, [one], rng(5))
    assert split_interval(MCC, [one], rng(5)) != split_interval(MCC, [one], rng(6))


def test_sides_need_the_same_rows() -> None:
    with pytest.raises(ValueError, match=r"the same rows, at least one, found \[3, 4\] rows"):
        split_difference(MCC, [drawn(rng(), 3)], [drawn(rng(), 4)], rng())
    with pytest.raises(ValueError, match="the same rows"):
        split_interval(MCC, [], rng())
