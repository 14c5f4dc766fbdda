"""Classes found in unlabelled sentences: near ones share a class, its name is what sets it apart.

More label sets than the annotations give, so that reading demonstrations pays and knowing labels does not,
after Schick & Schütze's and MetaICL's finding that the number of tasks counts (Min et al. 2021, arXiv
2110.15943, section 5.3).
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, TfidfVectorizer
from sklearn.preprocessing import normalize

_DIMENSIONS = 48
_SENTENCES_A_CLASS = 60
_FEWEST_IN_A_CLASS = 10
_LEAST_SIMILARITY = 0.7
"""Cosine to the middle of the class below which a sentence is left out."""


def cluster(sentences: Sequence[str], seed: int) -> dict[str, list[str]]:
    """Return classes of similar sentences by name; sentences that fit nowhere are left out."""
    if len(sentences) < 4 * _FEWEST_IN_A_CLASS:
        return {}
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=3, sublinear_tf=True, dtype=np.float32)
    weights = vectorizer.fit_transform(sentences)
    dimensions = min(_DIMENSIONS, min(weights.shape) - 1)
    points = normalize(TruncatedSVD(dimensions, random_state=seed).fit_transform(weights))
    count = max(2, len(sentences) // _SENTENCES_A_CLASS)
    means = MiniBatchKMeans(count, random_state=seed, n_init=1, batch_size=4096, max_iter=20).fit(points)
    similarity = np.einsum("ij,ij->i", points, normalize(means.cluster_centers_)[means.labels_])
    members: dict[int, list[int]] = defaultdict(list)
    for index in np.flatnonzero(similarity > _LEAST_SIMILARITY):
        members[int(means.labels_[index])].append(int(index))
    words = vectorizer.get_feature_names_out()
    average = np.asarray(weights.mean(axis=0)).ravel()
    classes: dict[str, list[str]] = {}
    for indices in members.values():
        texts = list(dict.fromkeys(sentences[index] for index in indices))
        if len(texts) < _FEWEST_IN_A_CLASS:
            continue
        contrast = np.asarray(weights[indices].mean(axis=0)).ravel() - average
        name = _name([str(words[index]) for index in np.argsort(-contrast)[:12]])
        if name and name not in classes:
            classes[name] = texts
    return classes


def _name(terms: Sequence[str]) -> str | None:
    for term in terms:
        parts = term.split()
        if all(part.isalpha() and len(part) > 2 for part in parts) and not ENGLISH_STOP_WORDS.issuperset(
            parts
        ):
            return term
    return None
