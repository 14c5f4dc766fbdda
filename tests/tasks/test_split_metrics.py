import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from sklearn import metrics as sklearn

from tuningfork.errors import TaskError
from tuningfork.tasks.answers import Answers
from tuningfork.tasks.metrics import METRICS, get_metric
from tuningfork.tasks.split_metrics import HIGHEST_PERPLEXITY, SPLIT_METRICS, SplitMetric

LABELS = ("a", "b", "c", "d")
WORDS = st.lists(st.sampled_from(["tea", "milk", "with", "oat", "no", "."]), max_size=7).map(" ".join)


@st.composite
def answers(draw: st.DrawFn, *, said: tuple[str, ...] = LABELS) -> Answers:
    count = draw(st.integers(1, 25))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    # Skewed, so that classes are often missing.
    sharpness = draw(st.sampled_from([0.2, 1.0, 5.0]))
    shares = rng.dirichlet(np.full(len(LABELS), sharpness), count)
    gold = [LABELS[int(place)] for place in rng.integers(0, draw(st.integers(1, 4)), count)]
    predictions = [said[int(place)] for place in rng.integers(0, len(said), count)]
    losses = -np.log(np.maximum([row[LABELS.index(g)] for row, g in zip(shares, gold, strict=True)], 1e-300))
    return Answers(predictions, [[text] for text in gold], losses.tolist(), shares.tolist(), LABELS)


@pytest.mark.parametrize("name", SPLIT_METRICS)
@given(found=answers(), seed=st.integers(0, 99))
def test_the_order_of_the_rows_does_not_matter(name: str, found: Answers, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(found)).tolist()
    metric = SPLIT_METRICS[name]
    assert metric.of(found.take(order)) == pytest.approx(metric.of(found), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", SPLIT_METRICS)
@given(found=answers(said=(*LABELS, "no label", "")))
def test_every_value_is_a_number_within_the_range(name: str, found: Answers) -> None:
    metric = SPLIT_METRICS[name]
    for value in (metric.of(found), *metric.row_scores(found)):
        assert metric.minimum - 1e-9 <= value <= metric.maximum + 1e-9


@given(found=answers())
def test_scores_of_classes_are_those_of_scikit_learn(found: Answers) -> None:
    gold, said = found.gold, list(found.predictions)
    for average in ("macro", "micro"):
        theirs = sklearn.f1_score(gold, said, average=average, zero_division=0.0)
        assert SPLIT_METRICS[f"{average}_f1"].of(found) == pytest.approx(theirs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It warns where there is one class.
        theirs = sklearn.matthews_corrcoef(gold, said)
    assert SPLIT_METRICS["mcc"].of(found) == pytest.approx(theirs, abs=1e-9)


@given(found=answers())
def test_scores_of_probabilities_are_those_of_scikit_learn(found: Answers) -> None:
    shares = np.array(found.probabilities)
    brier = sklearn.brier_score_loss(found.gold, shares, labels=list(LABELS), scale_by_half=False)
    assert SPLIT_METRICS["brier"].of(found) == pytest.approx(brier)
    if max(found.log_losses or ()) < 30:
        theirs = sklearn.log_loss(found.gold, shares, labels=list(LABELS))
        assert SPLIT_METRICS["log_loss"].of(found) == pytest.approx(theirs)


@settings(max_examples=40)
@given(rows=st.lists(st.tuples(WORDS, st.lists(WORDS, min_size=1, max_size=3)), min_size=1, max_size=6))
def test_bleu_is_that_of_the_corpus_by_sacrebleu(rows: list[tuple[str, list[str]]]) -> None:
    said, right = [text for text, _ in rows], [texts for _, texts in rows]
    # sacrebleu wants the first references of all rows, then the second ones; None where there is none.
    streams = [[texts[at] if at < len(texts) else None for texts in right] for at in range(3)]
    theirs = BLEU(effective_order=False).corpus_score(said, streams)  # type: ignore[arg-type]
    assert SPLIT_METRICS["bleu"].of(Answers(said, right)) == pytest.approx(theirs.score, abs=1e-9)


def test_bleu_of_a_row_is_that_of_a_sentence() -> None:
    rows = Answers(["oat milk", "no"], [["oat milk"], ["yes"]])
    assert SPLIT_METRICS["bleu"].row_scores(rows) == pytest.approx([100.0, 0.0])


def test_macro_f1_by_hand_where_a_class_is_missing() -> None:
    # F1 of a 2/3, of b 0; c and d are neither there nor said.
    rows = Answers(["a", "a"], [["a"], ["b"]], labels=LABELS)
    assert SPLIT_METRICS["macro_f1"].of(rows) == pytest.approx((2 / 3 + 0) / 2)
    assert SPLIT_METRICS["micro_f1"].of(rows) == pytest.approx(1 / 2)
    # An answer that is no label misses a, but is no class of its own: 2 * 1 / (2 + 1).
    rows = Answers(["a", "what?"], [["a"], ["a"]], labels=LABELS)
    assert SPLIT_METRICS["macro_f1"].of(rows) == pytest.approx(2 / 3)
    assert SPLIT_METRICS["micro_f1"].of(rows) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("said", "gold", "macro", "correlation"),
    [
        (["a"], ["a"], 1.0, 0.0),
        (["a"], ["b"], 0.0, 0.0),
        (["a", "a"], ["a", "a"], 1.0, 0.0),
        (["b", "a"], ["a", "b"], 0.0, -1.0),
        (["a", "b"], ["a", "b"], 1.0, 1.0),
        (["?", "?"], ["a", "b"], 0.0, 0.0),
        (["a", "a"], ["a", "b"], 1 / 3, 0.0),
    ],
)
def test_one_class_one_row_and_all_wrong_are_defined(
    said: list[str], gold: list[str], macro: float, correlation: float
) -> None:
    rows = Answers(said, [[text] for text in gold], labels=("a", "b"))
    assert SPLIT_METRICS["macro_f1"].of(rows) == pytest.approx(macro)
    assert SPLIT_METRICS["mcc"].of(rows) == pytest.approx(correlation)


def test_without_labels_the_answers_are_the_classes() -> None:
    rows = Answers(["x", "y"], [["x"], ["z"]])
    assert SPLIT_METRICS["macro_f1"].of(rows) == pytest.approx(1 / 3)


def test_ece_by_hand() -> None:
    # Both in the bin from 12/15 on: confidence 0.81 and 0.85, one right; the third alone in its bin, wrong.
    shares = [[0.81, 0.19], [0.85, 0.15], [0.4, 0.6]]
    rows = Answers(["a", "a", "b"], [["a"], ["b"], ["a"]], None, shares, ("a", "b"))
    assert SPLIT_METRICS["ece"].of(rows) == pytest.approx((abs(0.81 + 0.85 - 1) + 0.6) / 3)
    assert SPLIT_METRICS["ece"].row_scores(rows) == pytest.approx([0.19, 0.85, 0.6])


def test_a_row_by_itself_is_right_or_wrong_or_a_loss() -> None:
    rows = Answers([" a", "b"], [["a"], ["a"]], [0.1, 2.0], [[0.9, 0.1], [0.2, 0.8]], ("a", "b"))
    assert SPLIT_METRICS["macro_f1"].row_scores(rows) == [1.0, 0.0]
    assert SPLIT_METRICS["mcc"].row_scores(rows) == [1.0, 0.0]
    assert SPLIT_METRICS["log_loss"].row_scores(rows) == pytest.approx([0.1, 2.0])
    assert SPLIT_METRICS["perplexity"].row_scores(rows) == pytest.approx([math.exp(0.1), math.exp(2.0)])
    assert SPLIT_METRICS["brier"].row_scores(rows) == pytest.approx([0.02, 1.28])
    assert SPLIT_METRICS["perplexity"].of(rows) == pytest.approx(math.exp(1.05))


def test_what_is_no_number_counts_as_the_worst() -> None:
    nan = math.nan
    rows = Answers(["a", "a"], [["a"], ["b"]], [nan, math.inf], [[nan, nan], [nan, nan]], ("a", "b"))
    assert SPLIT_METRICS["log_loss"].of(rows) == 700.0
    assert SPLIT_METRICS["perplexity"].of(rows) == pytest.approx(HIGHEST_PERPLEXITY)
    assert SPLIT_METRICS["brier"].of(rows) == 2.0
    assert 0 <= SPLIT_METRICS["ece"].of(rows) <= 1


def test_metrics_say_what_they_cannot_do_without() -> None:
    bare = Answers(["a"], [["a"]], labels=("a", "b"))
    can = {name for name, metric in SPLIT_METRICS.items() if metric.can_score(bare)}
    assert can == {"macro_f1", "micro_f1", "mcc", "bleu"}
    with pytest.raises(TaskError, match="a metric of probabilities cannot score the text"):
        SPLIT_METRICS["brier"].score("a", ["a"])


def test_they_are_found_by_name_and_named_once() -> None:
    assert not set(SPLIT_METRICS) & set(METRICS)
    assert all(get_metric(name) is metric for name, metric in SPLIT_METRICS.items())
    assert isinstance(get_metric("mcc"), SplitMetric)
