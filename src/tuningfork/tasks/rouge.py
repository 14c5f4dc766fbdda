"""ROUGE, by the package rouge-score of the extra `rouge`."""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from tuningfork.errors import MissingDependencyError

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer


def rouge1(prediction: str, references: Sequence[str]) -> float:
    """Return the F1 of the words that prediction and best reference share: Lin 2004, as `rouge_l`."""
    return _f1("rouge1", prediction, references)


def rouge2(prediction: str, references: Sequence[str]) -> float:
    """Return the F1 of the pairs of words that both share: Lin 2004, as `rouge_l`."""
    return _f1("rouge2", prediction, references)


def rouge_l(prediction: str, references: Sequence[str]) -> float:
    """Return the F1 of the longest common subsequence of words, against the best reference.

    Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", https://aclanthology.org/W04-1013, as
    the package rouge-score computes it: without stemming, over the whole text. It knows a-z and 0-9 alone,
    so texts in another script score 0.
    """
    return _f1("rougeL", prediction, references)


def has_rouge() -> bool:
    """Return whether the package is installed."""
    from importlib.util import find_spec

    try:
        return find_spec("rouge_score") is not None
    except ValueError:  # Of a module that is known to be missing.
        return False


def check_rouge(name: str) -> None:
    """Check that what the metric called `name` needs is installed.

    Raises:
        MissingDependencyError: It is a kind of ROUGE, and the package is not there.
    """
    if name.startswith("rouge") and not has_rouge():
        raise _missing(name)


def _f1(kind: str, prediction: str, references: Sequence[str]) -> float:
    return float(_scorer(kind).score_multi(list(references), prediction)[kind].fmeasure)


@cache
def _scorer(kind: str) -> "RougeScorer":
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ModuleNotFoundError:
        raise _missing(kind) from None
    return RougeScorer([kind])


def _missing(name: str) -> MissingDependencyError:
    return MissingDependencyError("rouge-score", "rouge", f"the metric {name}")
