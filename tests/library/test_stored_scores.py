from typing import Any

import numpy as np
import pytest

from tests.library.measured import evaluation_of, evidence_from, row_keys
from tests.library.test_evidence import VERSION
from tuningfork.errors import LibraryError
from tuningfork.library.contents import VersionRecord
from tuningfork.library.evidence import Evidence
from tuningfork.library.stored_scores import StoredScores, paired
from tuningfork.tasks.answers import Answers
from tuningfork.tasks.split_metrics import SPLIT_METRICS

LABELS = ("good", "bad")


def answered(
    said: list[str], right: list[str], *, metric: str = "macro_f1", version: VersionRecord = VERSION
) -> Evidence:
    rows: list[dict[str, Any]] = [
        {"row": key, "score": float(one == other), "answer": one, "targets": (other,)}
        for key, one, other in zip(row_keys(len(said)), said, right, strict=True)
    ]
    return evidence_from(version, "evaluation", rows, metric=metric, labels=LABELS)


def test_rows_are_paired_by_their_hashes_not_by_their_order() -> None:
    keys = row_keys(5)
    scores = dict(zip(keys, (0.0, 0.2, 0.4, 0.6, 0.8), strict=True))

    def in_order(names: list[str]) -> Evidence:
        rows = [{"row": key, "score": scores[key]} for key in names]
        return evidence_from(VERSION, "evaluation", rows, metric="token_f1")

    one, other = paired(in_order(keys), in_order(keys[::-1]))
    assert one.scores == other.scores
    assert [row.row for row in one.rows] == sorted(keys)


def test_equal_rows_pair_in_their_order() -> None:
    key = row_keys(1)[0]

    def twice(*scores: float) -> Evidence:
        return evidence_from(VERSION, "evaluation", [{"row": key, "score": score} for score in scores])

    one, other = paired(twice(1, 0), twice(1, 0))
    assert one.scores == other.scores == [1, 0]


def test_means_weigh_rows() -> None:
    rows = [
        {"row": key, "score": score, "weight": weight}
        for key, score, weight in zip(row_keys(3), (1.0, 0.5, 0.0), (3.0, 1.0, 0.0), strict=True)
    ]
    found = StoredScores.of(evidence_from(VERSION, "evaluation", rows, metric="token_f1"))
    assert found.mean == pytest.approx(3.5 / 4)
    unweighed = StoredScores.of(evaluation_of(VERSION, [1, 0, 1]))
    assert unweighed.weights is None
    assert unweighed.mean == pytest.approx(2 / 3)


def test_a_metric_of_the_whole_set_is_computed_from_the_answers() -> None:
    said, right = ["good", "good", "bad", "bad"], ["good", "bad", "bad", "bad"]
    found = StoredScores.of(answered(said, right))
    expected = SPLIT_METRICS["macro_f1"].of(Answers(said, [(one,) for one in right], labels=LABELS))
    assert found.mean == expected
    assert not np.isclose(found.mean, 0.75)


@pytest.mark.parametrize(
    ("metric", "lacks"),
    [
        ("macro_f1", "answer and targets"),
        ("log_loss", "log_loss"),
        ("brier", "answer and targets and probabilities"),
    ],
)
def test_what_such_a_metric_lacks_is_told(metric: str, lacks: str) -> None:
    with pytest.raises(LibraryError, match=f"{metric} is of the whole set and needs {lacks} of each row"):
        StoredScores.of(evaluation_of(VERSION, [1, 0], metric=metric))


def test_other_sets_metrics_and_truths_are_not_compared() -> None:
    one = evaluation_of(VERSION, [1, 0])
    with pytest.raises(LibraryError, match="different sets of rows"):
        paired(one, evaluation_of(VERSION, [1, 0], name="others"))
    with pytest.raises(LibraryError, match="by accuracy cannot be compared with one by exact_match"):
        paired(one, evaluation_of(VERSION, [1, 0], metric="exact_match"))
    with pytest.raises(LibraryError, match="do not agree on what is right"):
        paired(answered(["good", "bad"], ["good", "bad"]), answered(["good", "bad"], ["bad", "bad"]))
