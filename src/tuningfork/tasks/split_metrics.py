"""Metrics of a whole split: numbers that are no mean over its rows.

Each is a function of sums over rows. So rows can be drawn again by weighing them, which makes the thousands
of draws of a bootstrap a few products of matrices (`evaluation/split_scores.py`).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

from tuningfork.errors import TaskError
from tuningfork.tasks.answers import Answers
from tuningfork.tasks.metrics import Metric, accuracy

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from sacrebleu.metrics.bleu import BLEU

    FloatArray = NDArray[np.float64]

Needs = Literal["labels", "probabilities", "log_losses", "text"]

MOST_NATS = 700.0
"""A log-loss above this, or none that is a number, counts as this: a probability that a float still holds."""
HIGHEST_PERPLEXITY = 1e6
"""Perplexities above this count as this; choosing among all tokens of a vocabulary by chance is below it."""
NUM_BINS = 15
_BLEU_ORDERS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitMetric(Metric):
    """A metric of a whole split.

    `sums(answers)` has a row of numbers for each answer, (N, S), and `value` makes the metric of their sum:
    (..., S) to (...). Values lie between `minimum` and `maximum`. `needs` is what answers must have.

    A row's own score is `score(prediction, references)` where that says enough (right or wrong, or BLEU of
    one sentence), and else the metric of a split of this row alone; see `row_scores`.
    """

    sums: "Callable[[Answers], FloatArray]"
    value: "Callable[[FloatArray], FloatArray]"
    needs: Needs
    minimum: float = 0.0

    def of(self, answers: Answers) -> float:
        """The metric of all `answers` together, at least one."""
        return float(self.value(self.sums(answers).sum(axis=0)))

    def row_scores(self, answers: Answers) -> list[float]:
        """The score of each row by itself; the metric of the split is not their mean."""
        if self.needs in ("labels", "text"):
            rows = zip(answers.predictions, answers.references, strict=True)
            return [self.score(prediction, references) for prediction, references in rows]
        scores: list[float] = self.value(self.sums(answers)).tolist()
        return scores

    def can_score(self, answers: Answers) -> bool:
        """Whether `answers` have what the metric needs."""
        match self.needs:
            case "probabilities":
                return answers.probabilities is not None
            case "log_losses":
                return answers.log_losses is not None
            case _:
                return True


def sentence_bleu(prediction: str, references: Sequence[str]) -> float:
    """Return sacrebleu's BLEU of one sentence, of as many orders as it has words, from 0 to 100."""
    return float(_bleu().sentence_score(prediction, list(references)).score)


def class_counts(answers: Answers) -> "FloatArray":
    """For each row and class: whether it was rightly found, is there, and was said; (N, 3 * (K + 1)).

    The last class is that of answers which are no label. Without labels, every answer and reference is one.
    """
    import numpy as np

    gold, texts = answers.gold, answers.said
    classes = answers.places or {text: place for place, text in enumerate(sorted({*gold, *texts}))}
    width = len(classes) + 1
    right = np.array([classes.get(text, width - 1) for text in gold], dtype=np.intp)
    said = np.array([classes.get(text, width - 1) for text in texts], dtype=np.intp)
    there, found = np.eye(width)[right], np.eye(width)[said]
    return np.concatenate([there * found, there, found], axis=-1)


def macro_f1(sums: "FloatArray") -> "FloatArray":
    """Mean F1 of the labels that are there or were said, from sums of `class_counts`; 0 if there are none.

    An answer that is no label misses the right one, and is no class of its own.
    """
    import numpy as np

    hits, there, said = _by_class(sums)
    occurring = there + said
    f1 = np.divide(2 * hits, occurring, out=np.zeros_like(hits), where=np.asarray(occurring > 0))
    count = np.maximum((occurring > 0).sum(axis=-1), 1)
    return np.asarray(f1.sum(axis=-1) / count)


def micro_f1(sums: "FloatArray") -> "FloatArray":
    """F1 of all labels pooled, from sums of `class_counts`; accuracy, if every answer is a label."""
    import numpy as np

    hits, there, said = (np.asarray(part.sum(axis=-1)) for part in _by_class(sums))
    occurring = there + said
    found = np.zeros_like(hits)
    np.divide(2 * hits, occurring, out=found, where=np.asarray(occurring > 0))
    return found


def mcc(sums: "FloatArray") -> "FloatArray":
    """Matthews' correlation coefficient from sums of `class_counts`: 1 is perfect, 0 is chance.

    0 where all rows are of one class or all answers are one, as no correlation is defined there. Gorodkin
    2004, "Comparing two K-category assignments by a K-category correlation coefficient", for many classes.
    """
    import numpy as np

    hits, there, said = _by_class(sums, with_others=True)
    # Answers that are no label are a class of their own here, but never right.
    rows = there.sum(axis=-1)
    covariance = hits[..., :-1].sum(axis=-1) * rows - (there * said).sum(axis=-1)
    spread = (rows**2 - (there**2).sum(axis=-1)) * (rows**2 - (said**2).sum(axis=-1))
    found = np.zeros(np.shape(covariance))
    np.divide(covariance, np.sqrt(spread), out=found, where=np.asarray(spread > 0))
    return np.asarray(np.clip(found, -1.0, 1.0))


def confidence_gaps(answers: Answers) -> "FloatArray":
    """For each row its count, and in the bin of its confidence how far this is from right or wrong, (N, 16).

    The confidence is the probability of the label that was answered; bins are of equal width.
    """
    import numpy as np

    confidence, is_right = confidences(answers)
    bins = np.minimum((confidence * NUM_BINS).astype(np.intp), NUM_BINS - 1)
    gaps = np.eye(NUM_BINS)[bins] * (confidence - is_right)[:, None]
    return _counted(gaps)


def confidences(answers: Answers) -> "tuple[FloatArray, FloatArray]":
    """Probability (N,) of the label that was answered to each row, and 1 where that is right, else 0."""
    import numpy as np

    shares, places = _shares(answers), answers.places
    said = np.array([places.get(text, -1) for text in answers.said], dtype=np.intp)
    own = np.take_along_axis(shares, np.maximum(said, 0)[:, None], axis=-1)[:, 0]
    confidence = np.where(said < 0, shares.max(axis=-1), own)
    pairs = zip(answers.said, answers.gold, strict=True)
    return np.clip(confidence, 0.0, 1.0), np.array([float(one == other) for one, other in pairs])


def ece(sums: "FloatArray") -> "FloatArray":
    """Expected calibration error from sums of `confidence_gaps`.

    Naeini, Cooper, Hauskrecht 2015, "Obtaining Well Calibrated Probabilities Using Bayesian Binning"; bins as
    in Guo et al. 2017, "On Calibration of Modern Neural Networks", https://arxiv.org/abs/1706.04599.
    """
    import numpy as np

    return np.asarray(np.abs(sums[..., 1:]).sum(axis=-1) / sums[..., 0])


def squared_errors(answers: Answers) -> "FloatArray":
    """For each row its count, and the squared distance of its probabilities from the right label, (N, 2)."""
    import numpy as np

    places = answers.places
    right = np.eye(len(places))[[places[text] for text in answers.gold]]
    return _counted(np.square(_shares(answers) - right).sum(axis=-1, keepdims=True))


def nats(answers: Answers) -> "FloatArray":
    """For each row its count and its log-loss, (N, 2)."""
    import numpy as np

    losses = np.array(answers.log_losses, dtype=np.float64)
    return _counted(np.clip(np.nan_to_num(losses, nan=MOST_NATS), None, MOST_NATS)[:, None])


def mean(sums: "FloatArray") -> "FloatArray":
    """A mean, from sums of rows with their count in front."""
    return sums[..., 1] / sums[..., 0]


def perplexity(sums: "FloatArray") -> "FloatArray":
    """Exponential of the mean log-loss, from sums of `nats`."""
    import numpy as np

    return np.exp(np.minimum(mean(sums), math.log(HIGHEST_PERPLEXITY)))


def bleu_counts(answers: Answers) -> "FloatArray":
    """What BLEU counts in each row: n-grams that match, n-grams said, both lengths; (N, 10)."""
    import numpy as np

    rows = zip(answers.predictions, answers.references, strict=True)
    scores = [_bleu().sentence_score(prediction, list(references)) for prediction, references in rows]
    return np.array([[*s.counts, *s.totals, s.sys_len, s.ref_len] for s in scores], dtype=np.float64)


def corpus_bleu(sums: "FloatArray") -> "FloatArray":
    """BLEU from sums of `bleu_counts`, smoothed as sacrebleu does, from 0 to 100.

    Papineni et al. 2002, "BLEU: a Method for Automatic Evaluation of Machine Translation",
    https://aclanthology.org/P02-1040; Post 2018, https://arxiv.org/abs/1804.08771, for sacrebleu.
    """
    import numpy as np

    flat = np.rint(sums.reshape(-1, sums.shape[-1])).astype(int).tolist()
    found = [
        _bleu()
        .compute_bleu(
            row[:_BLEU_ORDERS], row[_BLEU_ORDERS : 2 * _BLEU_ORDERS], row[-2], row[-1], smooth_method="exp"
        )
        .score
        for row in flat
    ]
    return np.array(found, dtype=np.float64).reshape(sums.shape[:-1])


def _no_row_alone(prediction: str, references: Sequence[str]) -> float:
    raise TaskError(
        "a metric of probabilities cannot score the text of an answer; use SplitMetric.row_scores on answers"
    )


def _of_classes(
    name: str, value: "Callable[[FloatArray], FloatArray]", *, minimum: float = 0.0
) -> SplitMetric:
    return SplitMetric(name, accuracy, sums=class_counts, value=value, needs="labels", minimum=minimum)


def _of_losses(
    name: str,
    sums: "Callable[[Answers], FloatArray]",
    value: "Callable[[FloatArray], FloatArray]",
    needs: Needs,
    *,
    maximum: float,
    minimum: float = 0.0,
) -> SplitMetric:
    return SplitMetric(
        name,
        _no_row_alone,
        higher_is_better=False,
        maximum=maximum,
        sums=sums,
        value=value,
        needs=needs,
        minimum=minimum,
    )


SPLIT_METRICS: dict[str, SplitMetric] = {
    metric.name: metric
    for metric in (
        _of_classes("macro_f1", macro_f1),
        _of_classes("micro_f1", micro_f1),
        _of_classes("mcc", mcc, minimum=-1.0),
        _of_losses("log_loss", nats, mean, "log_losses", maximum=MOST_NATS),
        _of_losses("brier", squared_errors, mean, "probabilities", maximum=2.0),
        _of_losses("ece", confidence_gaps, ece, "probabilities", maximum=1.0),
        _of_losses("perplexity", nats, perplexity, "log_losses", maximum=HIGHEST_PERPLEXITY, minimum=1.0),
        SplitMetric(
            "bleu",
            sentence_bleu,
            maximum=100.0,
            digits=1,
            sums=bleu_counts,
            value=corpus_bleu,
            needs="text",
        ),
    )
}


@cache
def _bleu() -> "BLEU":
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(effective_order=True)


def _by_class(
    sums: "FloatArray", *, with_others: bool = False
) -> "tuple[FloatArray, FloatArray, FloatArray]":
    """How often each label was rightly found, is there, was said; behind them those that are no label."""
    width = sums.shape[-1] // 3
    hits, there, said = (sums[..., start * width : (start + 1) * width] for start in range(3))
    if with_others:
        return hits, there, said
    return hits[..., :-1], there[..., :-1], said[..., :-1]


def _counted(values: "FloatArray") -> "FloatArray":
    import numpy as np

    return np.concatenate([np.ones((len(values), 1)), values], axis=-1)


def _shares(answers: Answers) -> "FloatArray":
    """Probabilities (N, C); a row without numbers is sure of a label that is wrong."""
    import numpy as np

    shares = np.array(answers.probabilities, dtype=np.float64)
    broken = np.asarray(~np.isfinite(shares).all(axis=-1))
    if broken.any():
        places = answers.places
        wrong = [(places[text] + 1) % len(places) for text in answers.gold]
        shares = np.where(broken[:, None], np.eye(len(places))[wrong], shares)
    return shares
