"""What needs no language model: a linear classifier on counted words."""

import json
import time
from collections.abc import Sequence
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from tuningfork.atomic import replacing
from tuningfork.data.example import Example
from tuningfork.errors import PromptError
from tuningfork.evaluation.comparison import Family
from tuningfork.evaluation.evaluate import Evaluation, Prediction, scored
from tuningfork.recipes.contestants.contestant import Arena, Made, search_setting
from tuningfork.recipes.preparation import Prepared
from tuningfork.recipes.spending import budget_of
from tuningfork.training.checkpoint import Validation, pooled
from tuningfork.training.loop import log_loss_score, selection_score

STRENGTHS = (1.0, 10.0, 100.0)
"""C of the logistic regression: the inverse of how strongly its weights are held at zero."""
_MOST_ITERATIONS = 5000

FEATURES: dict[str, dict[str, Any]] = {
    "words": {"analyzer": "word", "ngram_range": (1, 2)},
    "characters": {"analyzer": "char_wb", "ngram_range": (2, 4)},
}
"""What is counted: words and pairs of words, or two to four characters within words."""


class ClassicalBaseline:
    """Logistic regression on TF-IDF of a row's words, in milliseconds and without a language model.

    Source: Salton, Buckley 1988, "Term-weighting approaches in automatic text retrieval", Information
    Processing & Management 24(5), for the features; that such a baseline is strong on few short texts is
    the experience of Wang, Manning 2012, "Baselines and Bigrams: Simple, Good Sentiment and Topic
    Classification". There naive Bayes weighs the counts; here their logarithm and rarity do. What is counted
    and C are chosen on the folds that choose the settings of prompts, by the same rule. A label that no
    training row has is given the probability of one row more, 1 / (rows + labels), so that it is not
    impossible; the others share the rest.
    """

    name: ClassVar[str] = "TF-IDF + logistic regression"
    family: ClassVar[Family] = "classical"

    def reason_to_leave_out(self, arena: Arena) -> str | None:
        """Why it cannot take part: it tells labels apart and can say nothing else."""
        task = arena.prepared.task
        if task.has_tags:
            return "words are tagged; the most frequent tag is the baseline, in place of the text prompt"
        if task.labels is None:
            return "answers are not labels"
        # Loaded before time is taken, as the language model is: it is no part of making a classifier.
        for module in ("sklearn.feature_extraction.text", "sklearn.linear_model"):
            import_module(module)
        return None

    def make(self, arena: Arena, work: Path) -> Made:
        """Choose features and C on held-out rows, and fit all rows; takes no longer than reading it back.

        Raises:
            PromptError: There is nothing to count in the training rows.
        """
        prepared, budget = arena.prepared, budget_of(arena.budget_seconds, work)
        settings, num_cut_short = list(product(FEATURES, STRENGTHS)), 0
        found: dict[tuple[str, float], Validation] = {}
        for setting in settings:
            if found and budget.is_spent():
                num_cut_short += 1
            elif (validation := _validated(prepared, *setting)) is not None:
                found[setting] = validation
        if not found:
            raise PromptError("the training rows have neither words nor characters that could be counted")
        is_divided, higher = prepared.is_cross_validated, prepared.task.scoring.higher_is_better
        scores = {
            setting: log_loss_score(said) if is_divided else selection_score(said, higher_is_better=higher)
            for setting, said in found.items()
        }
        features, strength = best = max(scores, key=scores.__getitem__)
        started = time.perf_counter()
        trains_on_all = is_divided or arena.options.refit == "yes"
        model = _TextClassifier(
            prepared.rows if trains_on_all else prepared.folds[0].train, prepared, features, strength
        )
        seconds = time.perf_counter() - started
        return Made(
            answers={arena.options.seed: model.evaluate},
            setting={
                "features": features,
                "C": strength,
                "terms": model.num_terms,
                **search_setting(len(settings), num_cut_short),
            },
            validation=found[best],
            seconds_to_best=seconds,
            trained_parameters=model.num_parameters,
            stored_bytes=model.save(work / "classical.safetensors"),
            respond=model.respond,
        )


class _NothingToCount(Exception):
    """The training rows hold none of the features."""


class _TextClassifier:
    """TF-IDF and logistic regression, fitted to rows, with a probability for every label of the task."""

    def __init__(self, rows: Sequence[Example], prepared: Prepared, features: str, strength: float) -> None:
        # Only now: scikit-learn takes a second to load.
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression

        self._features = features
        self._task = prepared.task
        self._labels = tuple(prepared.task.labels or {})
        self._num_rows = len(rows)
        targets = [example.targets[0] for example in rows]
        self._known = sorted(set(targets))
        self._vectorizer: TfidfVectorizer = TfidfVectorizer(sublinear_tf=True, **FEATURES[features])
        try:
            counted = self._vectorizer.fit_transform([_text(example) for example in rows])
        except ValueError as error:
            # Words have two letters and more: there are none in "7", "+" or the characters of some scripts.
            raise _NothingToCount from error
        # Of one label alone there is nothing to learn.
        self._regression: LogisticRegression | None = None
        if len(self._known) > 1:
            self._regression = LogisticRegression(C=strength, max_iter=_MOST_ITERATIONS)
            self._regression.fit(counted, targets)

    @property
    def num_terms(self) -> int:
        """How many different terms are counted."""
        return len(self._vectorizer.vocabulary_)

    @property
    def num_parameters(self) -> int:
        """Coefficients and intercepts."""
        return (
            0 if self._regression is None else self._regression.coef_.size + self._regression.intercept_.size
        )

    def probabilities(self, examples: Sequence[Example]) -> NDArray[np.float64]:
        """Probability (N, C) of each label, in the order of the task."""
        found = np.zeros((len(examples), len(self._labels)))
        places = [self._labels.index(label) for label in self._known]
        if self._regression is None:
            found[:, places] = 1.0
        else:
            counted = self._vectorizer.transform([_text(example) for example in examples])
            found[:, places] = self._regression.predict_proba(counted)
        missing = [place for place in range(len(self._labels)) if place not in places]
        share = 1.0 / (self._num_rows + len(self._labels))
        found *= 1.0 - share * len(missing)
        found[:, missing] = share
        return found

    def evaluate(self, examples: Sequence[Example]) -> Evaluation:
        """Score the classifier on `examples`."""
        started = time.perf_counter()
        probabilities = self.probabilities(examples)
        predictions = [self._labels[place] for place in probabilities.argmax(axis=1)]
        right = [self._labels.index(example.targets[0]) for example in examples]
        log_losses = -np.log(probabilities[np.arange(len(examples)), right])
        return scored(
            self._task,
            examples,
            predictions,
            log_losses.tolist(),
            started,
            probabilities=probabilities.tolist(),
        )

    def respond(self, examples: Sequence[Example]) -> list[Prediction]:
        """What the classifier answers; targets are not looked at."""
        return [
            Prediction(self._labels[row.argmax()], dict(zip(self._labels, row.tolist(), strict=True)))
            for row in self.probabilities(examples)
        ]

    def save(self, path: Path) -> int:
        """Write all that is needed to answer to `path`; return its size in bytes."""
        vocabulary = self._vectorizer.vocabulary_
        described = {
            "labels": self._known,
            "features": FEATURES[self._features],
            "terms": sorted(vocabulary, key=vocabulary.__getitem__),
        }
        tensors = {"idf": self._vectorizer.idf_}
        if self._regression is not None:
            tensors |= {"coefficients": self._regression.coef_, "intercepts": self._regression.intercept_}
        with replacing(path) as temporary:
            save_file(tensors, str(temporary), metadata={"classical": json.dumps(described)})
        return path.stat().st_size


def _validated(prepared: Prepared, features: str, strength: float) -> Validation | None:
    """What the held-out rows of all folds say of a setting; None where a fold has nothing to count."""
    found = []
    for fold in prepared.folds:
        try:
            classifier = _TextClassifier(fold.train, prepared, features, strength)
        except _NothingToCount:
            return None
        evaluation = classifier.evaluate(fold.validation)
        # A metric of a whole split is no mean of those of folds.
        is_mean = evaluation.split_score is None or not prepared.is_cross_validated
        metric = evaluation.mean_score if is_mean else None
        found.append(Validation(metric, evaluation.mean_log_loss, len(fold.validation)))
    return pooled(found)


def _text(example: Example) -> str:
    parts = [*example.inputs.values(), *(message.content for message in example.messages)]
    return "\n".join(parts)
