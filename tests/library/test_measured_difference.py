from pathlib import Path

import numpy as np
import pytest

from tests.library.measured import evaluation_of, evidence_from, measure, record, row_keys
from tests.library.prompts import add
from tuningfork.errors import LibraryError
from tuningfork.evaluation.statistics import paired_difference
from tuningfork.library.artifacts import FolderStore
from tuningfork.library.differences import MeasuredDifference
from tuningfork.library.evidence import EvaluationRow, Evidence, MetricScale
from tuningfork.library.store import Library

OLD, NEW = (1, 0, 0, 1, 1, 0, 1, 0), (1, 1, 1, 0, 1, 0, 1, 1)


@pytest.fixture
def library(library: Library) -> Library:
    """With two versions, of which nothing was measured."""
    add(library)
    add(library, tensors=b"new")
    return library


def measured(library: Library) -> tuple[MeasuredDifference, ...]:
    return library.diff("shop/tickets@1", "shop/tickets@2").measured


def test_the_second_minus_the_first_row_by_row(library: Library) -> None:
    measure(library, library.get("shop/tickets@1"), OLD)
    measure(library, library.get("shop/tickets@2"), NEW, critical=(3,))
    (found,) = measured(library)
    # Rows are paired by their hashes, in whatever order they were recorded.
    order = np.argsort(row_keys(8))
    ours, theirs = np.array(NEW)[order], np.array(OLD)[order]
    expected = paired_difference(ours, theirs, bounds=(0, 1), rng=np.random.default_rng(0))
    assert (found.metric, found.num_rows, found.before, found.after) == ("accuracy", 8, 0.5, 0.75)
    assert found.difference == pytest.approx(expected.mean) == pytest.approx(0.25)
    assert (found.low, found.high) == pytest.approx((expected.interval.low, expected.interval.high))
    assert found.verdict == expected.verdict
    keys = row_keys(8)
    assert {flip.row for flip in found.better} == {keys[1], keys[2], keys[7]}
    assert [(flip.row, flip.score_before, flip.score_after, flip.is_critical) for flip in found.worse] == [
        (keys[3], 1.0, 0.0, True)
    ]
    (back,) = library.diff("shop/tickets@2", "shop/tickets@1").measured
    assert back.difference == pytest.approx(-0.25)
    assert (back.better, len(back.worse)) == ((found.worse[0].model_copy(update={
        "score_before": 0.0, "score_after": 1.0}),), 3)  # fmt: skip


def test_only_sets_that_both_have_and_the_newest_evidence(library: Library) -> None:
    one, two = (library.get(f"shop/tickets@{number}") for number in (1, 2))
    measure(library, one, OLD)
    assert measured(library) == ()
    measure(library, two, OLD, name="others")
    assert measured(library) == ()
    measure(library, two, OLD)
    measure(library, two, NEW, origin="again")
    (found,) = measured(library)
    assert found.after == 0.75


def test_rows_that_count_for_nothing_flip_too(library: Library) -> None:
    for number, scores in ((1, (0.0, 1.0, 0.0)), (2, (1.0, 1.0, 0.0))):
        version = library.get(f"shop/tickets@{number}")
        rows = [
            {"row": key, "score": score, "weight": weight}
            for key, score, weight in zip(row_keys(3), scores, (0.0, 1.0, 1.0), strict=True)
        ]
        record(library, version, evidence_from(version, "evaluation", rows))
    (found,) = measured(library)
    assert (found.difference, found.num_rows) == (0, 3)
    assert [flip.row for flip in found.better] == [row_keys(3)[0]]


def test_less_may_be_better(library: Library) -> None:
    scale = MetricScale(name="python:errors.count", higher_is_better=False, maximum=9.0)
    for number, scores in ((1, (5.0, 2.0, 1.0)), (2, (3.0, 2.0, 4.0))):
        version = library.get(f"shop/tickets@{number}")
        made = evaluation_of(version, [score / 9 for score in scores])
        rows = [row.model_copy(update={"score": row.score * 9}) for row in made.of_kind(EvaluationRow)]
        header = made.header.model_copy(update={"metric": scale})
        record(library, version, Evidence(header, rows))
    (found,) = measured(library)
    assert found.difference == pytest.approx(1 / 3)
    assert [flip.row for flip in found.better] == [row_keys(3)[0]]
    assert [flip.row for flip in found.worse] == [row_keys(3)[2]]


def test_evidence_that_does_not_compare_is_said_so(library: Library) -> None:
    one, two = (library.get(f"shop/tickets@{number}") for number in (1, 2))
    record(library, one, evaluation_of(one, OLD))
    record(library, two, evaluation_of(two, NEW, metric="exact_match"))
    (found,) = measured(library)
    assert "exact_match" in found.note
    assert found.difference is None


def test_evidence_that_was_tampered_with_is_refused(library: Library) -> None:
    measure(library, library.get("shop/tickets@1"), OLD)
    sha256 = measure(library, library.get("shop/tickets@2"), NEW).sha256
    assert isinstance(library.artifacts, FolderStore)
    path = Path(library.artifacts.place) / sha256[:2] / sha256
    path.write_bytes(path.read_bytes().replace(b'"score":0.0', b'"score":1.0'))
    with pytest.raises(LibraryError, match="is damaged or was changed"):
        measured(library)
