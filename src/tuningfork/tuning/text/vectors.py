"""Vectors of inputs by their words, for models that show none of their own."""

from collections.abc import Sequence

import numpy as np

from tuningfork.tuning.text.training_rows import Vectors


def word_vectors(texts: Sequence[str]) -> Vectors:
    """TF-IDF (N, F) of `texts`; words and pairs of words, as they are spelt but for case.

    Texts without a word have vectors of zeros.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    try:
        return np.asarray(vectorizer.fit_transform(texts).todense(), dtype=np.float64)
    except ValueError:
        # None of the texts has a word.
        return np.zeros((len(texts), 1))
