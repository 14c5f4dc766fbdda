import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.tasks.spoken_labels import spoken_label

CARDS = {"a": "card", "b": "card payment", "c": "payment by cheque"}


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("card", "a"),
        ("  Card.\n", "a"),
        ("**card payment**", "b"),
        ("CARD\tPAYMENT!", "b"),
        ("card-payment", "b"),
        ("The answer is: card payment, I think.", "b"),
        ("It is card.", "a"),
        ("A", "a"),
        ("card or card payment", None),
        ("card payment by cheque", None),
        ("cards", None),
        ("discard", None),
        ("", None),
        ("...", None),
        ("none of them", None),
        ("It is b", None),
        ("card card", "a"),
    ],
)
def test_the_label_that_is_said(answer: str, label: str | None) -> None:
    assert spoken_label(CARDS, answer) == label


def test_words_go_before_names() -> None:
    turned = {"no": "yes", "yes": "no"}
    assert spoken_label(turned, "Yes") == "no"
    assert spoken_label({"0": "one", "1": "two"}, "1") == "1"


def test_labels_of_signs() -> None:
    signs = {"up": "+", "down": "-"}
    assert spoken_label(signs, " + ") == "up"
    assert spoken_label(signs, "-") == "down"
    assert spoken_label(signs, "so +") is None
    assert spoken_label(signs, "up") == "up"


def test_labels_that_differ_in_signs_only_must_be_said_exactly() -> None:
    alike = {"x": "a-b", "y": "a b"}
    assert spoken_label(alike, "a-b") == "x"
    assert spoken_label(alike, "a b") == "y"
    assert spoken_label(alike, "A_B") is None


def test_other_scripts() -> None:
    assert spoken_label({"k": "Straße", "l": "café"}, "STRASSE") == "k"
    assert spoken_label({"k": "返品", "l": "配送"}, "返品。") == "k"


WORDS = st.lists(st.sampled_from("abcde"), min_size=1, max_size=3).map(" ".join)


@given(st.dictionaries(st.integers(0, 9).map(lambda n: f"label {n}"), WORDS, min_size=2), st.text())
def test_only_labels_are_returned(labels: dict[str, str], answer: str) -> None:
    assert spoken_label(labels, answer) in {*labels, None}


@given(st.lists(WORDS, min_size=2, max_size=5, unique=True), st.data())
def test_a_label_is_known_by_its_own_words(words: list[str], data: st.DataObject) -> None:
    labels = {f"label {place}": text for place, text in enumerate(words)}
    label = data.draw(st.sampled_from(sorted(labels)))
    assert spoken_label(labels, labels[label].upper() + ".") == label
