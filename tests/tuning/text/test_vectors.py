import numpy as np

from tuningfork.tuning.text.vectors import word_vectors


def test_texts_with_common_words_are_nearer() -> None:
    vectors = word_vectors(["my card was charged twice", "the card is charged again", "where is my parcel"])
    likeness = vectors @ vectors.T
    assert likeness[0, 1] > likeness[0, 2] > 0
    assert np.allclose(np.diag(likeness), 1)


def test_texts_without_words_have_none() -> None:
    assert word_vectors(["!?", "..."]).tolist() == [[0.0], [0.0]]
