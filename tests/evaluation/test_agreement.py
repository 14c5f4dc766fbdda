import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from tuningfork.evaluation.agreement import Agreement, Weights, agreement


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_kappa_is_agreement_beyond_chance(rng: np.random.Generator) -> None:
    # 20 both yes, 5 and 10 one of them, 15 both no: the textbook's 0.4.
    judged = ["yes"] * 25 + ["no"] * 25
    human = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    found = agreement(judged, human, rng=rng)
    assert found.kappa == pytest.approx(0.4)
    assert found.share_equal == pytest.approx(0.7)
    assert found.low is not None
    assert found.high is not None
    assert 0.05 < found.low < 0.25
    assert 0.55 < found.high < 0.75
    assert found.sentence.startswith("Not enough agreement, or too few rows, to trust the judge alone")


def test_distance_on_a_scale_counts_with_weights(rng: np.random.Generator) -> None:
    human = [1, 2, 3, 4, 5] * 8
    near = [2, 3, 4, 5, 4] * 8
    plain = agreement(near, human, rng=rng).kappa
    weighed = agreement(near, human, weights="quadratic", rng=rng).kappa
    assert plain is not None
    assert weighed is not None
    assert plain < 0 < 0.5 < weighed


def test_gaps_in_a_scale_stay_wide(rng: np.random.Generator) -> None:
    far = agreement([1, 1, 10, 10], [1, 9, 10, 10], weights="linear", rng=rng)
    near = agreement([1, 1, 3, 3], [1, 2, 3, 3], weights="linear", rng=rng)
    assert far.kappa == pytest.approx(1 - 2 / 4.5)
    assert near.kappa == pytest.approx(0.75)


RATINGS = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=30)


@settings(max_examples=40)
@given(RATINGS, st.sampled_from([None, "linear", "quadratic"]))
def test_kappa_is_that_of_scikit_learn(ratings: list[tuple[int, int]], weights: Weights | None) -> None:
    judged, human = zip(*ratings, strict=True)
    found = agreement(judged, human, weights=weights, rng=np.random.default_rng(0))
    if len({*judged, *human}) == 1:
        assert found.kappa is None
        return
    expected = cohen_kappa_score(judged, human, labels=[1, 2, 3, 4, 5], weights=weights)
    assert found.kappa == pytest.approx(expected, abs=1e-9)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.high


def test_full_agreement_of_many_is_trusted(rng: np.random.Generator) -> None:
    found = agreement([1, 2, 3] * 10, [1, 2, 3] * 10, rng=rng)
    assert (found.kappa, found.low, found.high) == (1.0, 1.0, 1.0)
    assert found.sentence.startswith(
        "The judge may stand in for people here: the judge and people agree on 100"
    )


def test_chance_is_not_trusted(rng: np.random.Generator) -> None:
    labels = rng.integers(2, size=(2, 400)).tolist()
    found = agreement(labels[0], labels[1], rng=rng)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0 < found.high < 0.2
    assert found.sentence.startswith("Do not trust the judge here")


def test_one_label_throughout_says_nothing(rng: np.random.Generator) -> None:
    found = agreement([3, 3, 3], [3, 3, 3], rng=rng)
    assert found == Agreement(3, 1.0, None, None, None, 0.95)
    assert found.sentence == (
        "Cannot tell whether to trust the judge: the judge and people agree on 100 % of 3 rows, but all "
        "labels are the same."
    )


def test_other_labels_throughout_are_chance(rng: np.random.Generator) -> None:
    assert agreement([1, 1], [2, 2], rng=rng).kappa == 0.0


def test_the_interval_is_repeatable() -> None:
    judged, human = [1, 2, 2, 3, 1, 3], [1, 2, 3, 3, 2, 3]
    once, again = (agreement(judged, human, rng=np.random.default_rng(7)) for _ in range(2))
    assert once == again


@pytest.mark.parametrize(
    ("judged", "human", "message"),
    [
        ([1], [1, 2], "found 1 and 2 labels"),
        ([], [], "found 0 and 0 labels"),
        (["a"], ["b"], "weights need a scale"),
    ],
)
def test_what_cannot_be_held_against_each_other(
    judged: list[int], human: list[int], message: str, rng: np.random.Generator
) -> None:
    with pytest.raises(ValueError, match=message):
        agreement(judged, human, weights="linear", rng=rng)
