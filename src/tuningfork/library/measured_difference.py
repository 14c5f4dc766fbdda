"""How much better one version is than another by stored evidence, and which cases flipped."""

from collections.abc import Callable, Sequence

from tuningfork.errors import LibraryError
from tuningfork.library.differences import Flip, MeasuredDifference
from tuningfork.library.evidence import EvaluationRow, Evidence
from tuningfork.library.evidence_records import EvidenceRecord
from tuningfork.library.stored_scores import paired

LoadEvidence = Callable[[EvidenceRecord], Evidence]
"""The rows of a record, checked against the version that they are of."""

_SEED = 0
"""The same rows give the same interval."""


def measured_differences(
    before: Sequence[EvidenceRecord],
    after: Sequence[EvidenceRecord],
    load_before: LoadEvidence,
    load_after: LoadEvidence,
) -> tuple[MeasuredDifference, ...]:
    """The second minus the first on each set of rows that both were evaluated on, by their newest evidence.

    Records are given the newest first.

    Raises:
        LibraryError: if evidence is missing, was changed, or is of another version.
    """
    older, newer = _newest(before), _newest(after)
    return tuple(
        _difference(dataset, load_before(older[dataset]), load_after(newer[dataset]))
        for dataset in newer
        if dataset in older
    )


def _newest(records: Sequence[EvidenceRecord]) -> dict[str, EvidenceRecord]:
    """The first record of each set of rows."""
    return {record.dataset: record for record in reversed(records) if record.dataset is not None}


def _difference(dataset: str, before: Evidence, after: Evidence) -> MeasuredDifference:
    # Loads scipy, which a difference of words alone does not wait for.
    import numpy as np

    from tuningfork.evaluation.pooled_scores import score_difference

    try:
        ours, theirs = paired(after, before)
        found = score_difference(ours, theirs, ours.metric, np.random.default_rng(_SEED))
    except LibraryError as error:
        return MeasuredDifference(dataset=dataset, note=str(error))
    sign = 1 if ours.metric.higher_is_better else -1
    flips = [
        (sign * (one.score - other.score), _flip(other, one))
        for one, other in zip(ours.rows, theirs.rows, strict=True)
        if one.score != other.score
    ]
    return MeasuredDifference(
        dataset=dataset,
        metric=ours.metric.name,
        num_rows=len(ours.rows),
        before=theirs.mean,
        after=ours.mean,
        difference=found.mean,
        low=found.interval.low,
        high=found.interval.high,
        verdict=found.verdict,
        better=tuple(flip for gain, flip in flips if gain > 0),
        worse=tuple(flip for gain, flip in flips if gain < 0),
    )


def _flip(before: EvaluationRow, after: EvaluationRow) -> Flip:
    return Flip(
        row=after.row,
        score_before=before.score,
        score_after=after.score,
        answer_before=before.answer,
        answer_after=after.answer,
        is_critical=before.critical or after.critical,
    )
