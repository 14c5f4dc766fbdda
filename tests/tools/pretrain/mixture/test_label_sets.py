from tools.pretrain.mixture.label_sets import by_question_word, label_set, sentences, subject_of


def test_a_text_under_two_labels_and_a_thin_class_are_left_out() -> None:
    pairs = [(f"text {label} {n}", label) for label in "ab" for n in range(6)]
    found = label_set("x", "topic", [*pairs, ("text a 0", "b"), ("thin one", "c"), ("text a 9", "a")])
    assert found is not None
    assert set(found.classes) == {"a", "b"}
    assert "text a 0" not in found.classes["a"]


def test_one_class_is_no_set() -> None:
    assert label_set("x", "topic", [(f"text {n}", "a") for n in range(9)]) is None


def test_sentences_are_whole() -> None:
    text = (
        "This sentence is long enough to stand alone. no capital here at all, so it is left out. Short one."
    )
    assert sentences(text) == [
        "This sentence is long enough to stand alone. no capital here at all, so it is left out."
    ]


def test_subjects_are_words() -> None:
    assert subject_of("osbooks-introduction-political-science") == "political science"


def test_questions_are_sorted_by_what_they_ask() -> None:
    assert list(by_question_word(["How many are there?", "Is it?"])) == [("How many are there?", "number")]
