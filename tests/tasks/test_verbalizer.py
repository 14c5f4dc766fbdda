import pytest

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


def test_labels_are_compared_by_their_sum_unless_the_mean_is_asked_for() -> None:
    assert not verbalizer(["cash", "card payment"]).normalizes_length
    assert verbalizer(["cash", "card payment"], "mean").normalizes_length


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
