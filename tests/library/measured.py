"""Evidence to record for versions in tests."""

from collections.abc import Mapping, Sequence
from typing import Any

from tuningfork.library.canonical import hash_value
from tuningfork.library.contents import VersionRecord
from tuningfork.library.datasets import hash_of_keys
from tuningfork.library.evidence import (
    ROWS,
    Evidence,
    EvidenceHeader,
    EvidenceKind,
    EvidenceRow,
    MetricScale,
)
from tuningfork.library.evidence_records import EvidenceRecord
from tuningfork.library.store import Library
from tuningfork.tasks.metrics import get_metric

LIGHT: Mapping[str, Mapping[str, Any]] = {"contract": {}, "known_data": {}}
"""Gates that need no evidence."""


def guard_lightly(library: Library, *, actor: str = "admin") -> None:
    """Have `production` be moved without evidence, for tests of other things."""
    library.set_policy(None, "production", LIGHT, actor=actor)


def row_keys(count: int, name: str = "rows") -> list[str]:
    """Hashes of rows that nobody has to see."""
    return [hash_value([name, place]) for place in range(count)]


def evidence_from(
    version: VersionRecord,
    kind: EvidenceKind,
    rows: Sequence[Mapping[str, Any]],
    *,
    metric: str | None = None,
    dataset: str | None = None,
    **header: Any,
) -> Evidence:
    """Evidence of `version` with these rows; each needs its `row`."""
    made: list[EvidenceRow] = [ROWS[kind].model_validate(dict(row), strict=False) for row in rows]
    if dataset is None and kind != "cost":
        variants = {getattr(row, "variant", None) for row in made}
        first = min(variants, key=str)
        dataset = hash_of_keys([row.row for row in made if getattr(row, "variant", None) == first])
    if metric is None and kind in ("evaluation", "robustness", "bias"):
        metric = "accuracy"
    scale = None if metric is None else MetricScale.of(get_metric(metric))
    fields = {"kind": kind, "content_hash": version.content_hash, "dataset": dataset, "metric": scale}
    return Evidence(EvidenceHeader(**fields | header), made)


def evaluation_of(
    version: VersionRecord,
    scores: Sequence[float],
    *,
    name: str = "rows",
    critical: Sequence[int] = (),
    metric: str = "accuracy",
    **header: Any,
) -> Evidence:
    """An evaluation with these scores on the first rows of the set `name`."""
    rows = [
        {"row": key, "score": float(score), "critical": place in critical}
        for place, (key, score) in enumerate(zip(row_keys(len(scores), name), scores, strict=True))
    ]
    return evidence_from(version, "evaluation", rows, metric=metric, **header)


def record(
    library: Library, version: VersionRecord, evidence: Evidence, *, freezes: bool = True
) -> EvidenceRecord:
    """Record evidence of a version, and freeze its set of rows."""
    made = library.record_evidence(version.reference, evidence, author="ann")
    if freezes and made.dataset is not None:
        library.freeze_dataset(made.dataset, actor="ann")
    return made


def measure(
    library: Library, version: VersionRecord, scores: Sequence[float], **fields: Any
) -> EvidenceRecord:
    """Record an evaluation with these scores, its test set frozen; see `evaluation_of`."""
    return record(library, version, evaluation_of(version, scores, **fields))
