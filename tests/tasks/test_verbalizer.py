import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.errors import TaskError
from tuningfork.tasks.verbalizer import LengthNormalization, Verbalizer

END = 9
CARD, PAYMENT, CASH = 1, 2, 3
VOCABULARY = {"card": CARD, "payment": PAYMENT, "cash": CASH}


def encode(words: str) -> list[int]:
    return [VOCABULARY[word] for word in words.split()] + [END]


def verbalizer(words: list[str], length_normalization: LengthNormalization = "none") -> Verbalizer:
    return Verbalizer.from_words(
        {word.replace(" ", "_"): word for word in words}, encode, length_normalization
    )


def test_ids_end_with_the_end_token_so_none_begins_another() -> None:
    built = verbalizer(["card", "card payment", "cash"])
    assert built.labels == ("card", "card_payment", "cash")
    assert built.choice_ids == ((CARD, END), (CARD, PAYMENT, END), (CASH, END))


def test_a_shared_beginning_cancels() -> None:
    # P(card) = 0.01 is common to both labels; after it the model says "payment" with 0.7 or ends with 0.3.
    built = verbalizer(["card", "card payment"])
    scores = [math.log(0.01) + math.log(0.3), math.log(0.01) + math.log(0.7)]
    assert built.probabilities(scores) == pytest.approx((0.3, 0.7))
    assert built.best(scores) == "card_payment"


def test_without_the_end_token_the_short_label_would_win() -> None:
    # The reason for the end token: P(card ...) is never below P(card payment ...).
    started_with_card, then_payment = math.log(0.01), math.log(0.7)
    built = verbalizer(["card", "card payment"])
    assert built.best([started_with_card, started_with_card + then_payment]) == "card"
    assert built.best([started_with_card + math.log(0.3), started_with_card + then_payment]) == "card_payment"


def test_length_normalization_changes_a_decision() -> None:
    scores = [-2.0, -2.4]
    assert verbalizer(["cash", "card payment"]).best(scores) == "cash"
    assert verbalizer(["cash", "card payment"], "mean").best(scores) == "card_payment"
    assert verbalizer(["cash", "card payment"], "mean").normalized(scores) == pytest.approx((-1.0, -0.8))


@given(st.lists(st.floats(-500, 0), min_size=3, max_size=3), st.sampled_from(["none", "mean"]))
def test_probabilities_add_up_and_follow_the_scores(
    scores: list[float], normalization: LengthNormalization
) -> None:
    built = verbalizer(["card", "card payment", "cash"], normalization)
    probabilities = built.probabilities(scores)
    assert sum(probabilities) == pytest.approx(1.0)
    assert probabilities[built.labels.index(built.best(scores))] == max(probabilities)


@given(st.lists(st.floats(-50, 0), min_size=3, max_size=3), st.floats(-1000, 0))
def test_what_all_labels_share_does_not_matter(scores: list[float], shared: float) -> None:
    built = verbalizer(["card", "card payment", "cash"])
    shifted = [score + shared for score in scores]
    assert built.probabilities(shifted) == pytest.approx(built.probabilities(scores), abs=1e-9)


def test_an_impossible_label_gets_zero() -> None:
    assert verbalizer(["card", "cash"]).probabilities([-math.inf, -3.0]) == (0.0, 1.0)


@pytest.mark.parametrize("score", [-math.inf, math.nan, math.inf])
def test_scores_that_say_nothing_are_refused(score: float) -> None:
    with pytest.raises(ValueError, match="at least one score must be finite"):
        verbalizer(["card", "cash"]).probabilities([score, score])


def test_equal_ids_are_refused() -> None:
    with pytest.raises(TaskError, match="labels 'a' and 'b' have the same tokens"):
        Verbalizer.from_words({"a": "card", "b": "card "}, encode)


def test_ids_that_begin_another_label_are_refused() -> None:
    with pytest.raises(TaskError, match="tokens of label 'long' begin with all those of 'short'"):
        Verbalizer(("short", "long"), ((CARD,), (CARD, PAYMENT)))


def test_empty_words_are_refused() -> None:
    with pytest.raises(TaskError, match="label 'b' has no words to say"):
        Verbalizer.from_words({"a": "card", "b": " "}, encode)


def test_one_label_is_no_choice() -> None:
    with pytest.raises(TaskError, match="at least two labels"):
        verbalizer(["card"])


def test_one_score_per_label() -> None:
    with pytest.raises(ValueError, match="expected 2 scores, one per label, found 3"):
        verbalizer(["card", "cash"]).best([-1.0, -2.0, -3.0])
