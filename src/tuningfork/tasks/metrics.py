"""Metrics: pure functions that score one prediction against its references.

A metric's score for a split is the mean over its items, or the mean weighed by `weight`; `split_metrics` has
those that are no mean. Running a metric over a split, and intervals, belong to `evaluation`.
"""

import json
import re
import string
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuningfork.errors import DataError, TaskError
from tuningfork.tasks.rouge import rouge1, rouge2, rouge_l
from tuningfork.tasks.suggestions import did_you_mean
from tuningfork.tasks.tag_metrics import entity_f1, num_entities, num_words, token_accuracy

if TYPE_CHECKING:
    from sacrebleu.metrics.chrf import CHRF

Score = Callable[[str, Sequence[str]], float]


@dataclass(frozen=True, slots=True)
class Metric:
    """How one prediction is scored against the references of its row.

    `score(prediction, references)` takes at least one reference, is deterministic, and returns a number from
    0 to `maximum`. `digits` is how many decimals are shown. `answer_key(answer)` is equal for answers that
    count as the same one, as it ignores what the score does: case and punctuation, say. `weight`, of metrics
    that score tags of words, is what the score of a row counts for in that of a split; without it, all rows
    count alike.
    """

    name: str
    score: Score
    answer_key: Callable[[str], Hashable] = str.strip
    higher_is_better: bool = True
    maximum: float = 1.0
    digits: int = 3
    weight: Score | None = None


def accuracy(prediction: str, references: Sequence[str]) -> float:
    """Return 1 if the prediction is one of the references, letter for letter but for outer whitespace."""
    return float(prediction.strip() in {reference.strip() for reference in references})


def exact_match(prediction: str, references: Sequence[str]) -> float:
    """Return 1 if the prediction equals a reference after SQuAD's normalisation.

    Case, ASCII punctuation, the English articles and extra whitespace are ignored: Rajpurkar et al. 2016,
    "SQuAD: 100,000+ Questions for Machine Comprehension of Text", https://arxiv.org/abs/1606.05250.
    """
    return float(_squad_words(prediction) in [_squad_words(reference) for reference in references])


def token_f1(prediction: str, references: Sequence[str]) -> float:
    """Return the best F1 over the references between bags of words, normalised as in SQuAD.

    Two texts without any word agree fully. Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250.
    """
    predicted = Counter(_squad_words(prediction))
    return max(_bag_f1(predicted, Counter(_squad_words(reference))) for reference in references)


def field_f1(prediction: str, references: Sequence[str]) -> float:
    """Return the best F1 over the references between the fields of two JSON texts.

    Nested values are flattened to (path, value) pairs; a pair counts when both agree. The items of a list
    share one path, so their order does not matter. A prediction that is not valid JSON scores 0.

    Raises:
        DataError: A reference is not valid JSON.
    """
    expected = []
    for reference in references:
        fields = _json_fields(reference)
        if fields is None:
            raise DataError(f"field_f1 needs references in JSON, found {reference[:60]!r}")
        expected.append(fields)
    predicted = _json_fields(prediction)
    return 0.0 if predicted is None else max(_bag_f1(predicted, fields) for fields in expected)


def chrf(prediction: str, references: Sequence[str]) -> float:
    """Return sacrebleu's sentence-level chrF2 against the best reference, from 0 to 100.

    Popović 2015, "chrF: character n-gram F-score for automatic MT evaluation",
    https://aclanthology.org/W15-3049.
    """
    return float(_chrf_scorer().sentence_score(prediction, list(references)).score)


def valid_json(prediction: str, references: Sequence[str]) -> float:
    """Return 1 if the prediction is a JSON text, whatever it says."""
    del references
    return float(_json_fields(prediction) is not None)


def _word_key(answer: str) -> Hashable:
    return tuple(_squad_words(answer))


def _field_key(answer: str) -> Hashable:
    fields = _json_fields(answer)
    return answer.strip() if fields is None else frozenset(fields.items())


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", accuracy),
        Metric("exact_match", exact_match, _word_key),
        Metric("token_f1", token_f1, _word_key),
        Metric("field_f1", field_f1, _field_key),
        Metric("valid_json", valid_json, _field_key),
        Metric("chrf", chrf, maximum=100.0, digits=1),
        Metric("rouge1", rouge1),
        Metric("rouge2", rouge2),
        Metric("rougeL", rouge_l),
        Metric("entity_f1", entity_f1, weight=num_entities),
        Metric("token_accuracy", token_accuracy, weight=num_words),
    )
}


def get_metric(name: str, folder: str | Path | None = None) -> Metric:
    """Return the metric called `name`: one of those here or of `split_metrics`, or a function of the user's.

    A name such as `package.module:function` names a function, which is looked for in `folder` too.

    Raises:
        TaskError: There is no such metric, or it is code that nobody has said to trust.
    """
    # Both are built on the metrics here.
    from tuningfork.tasks.custom_metrics import custom_metric, is_custom
    from tuningfork.tasks.split_metrics import SPLIT_METRICS

    if is_custom(name):
        return custom_metric(name, folder)
    known = {**METRICS, **SPLIT_METRICS}
    if name not in known:
        raise TaskError(f"unknown metric {name!r}: {did_you_mean(name, known)}")
    return known[name]


@cache
def _chrf_scorer() -> "CHRF":
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()


_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def _squad_words(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def _bag_f1(predicted: Counter[Any], expected: Counter[Any]) -> float:
    if not predicted or not expected:
        return float(predicted == expected)
    return 2 * (predicted & expected).total() / (predicted.total() + expected.total())


def _json_fields(text: str) -> Counter[tuple[str, str]] | None:
    try:
        return Counter(_flatten(json.loads(text, parse_constant=_refuse_constant)))
    except (ValueError, RecursionError):
        return None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _flatten(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flatten(inner, f"{path}/{json.dumps(key)}")
    elif isinstance(value, list) and value:
        for inner in value:
            yield from _flatten(inner, f"{path}/[]")
    elif isinstance(value, float) and value.is_integer():
        yield path, json.dumps(int(value))
    else:
        yield path, json.dumps(value.strip() if isinstance(value, str) else value)
