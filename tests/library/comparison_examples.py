"""Records of a comparison, as small as they can be."""

from typing import Any

from tests.library.run_examples import run_record
from tuningfork.evaluation.comparison import (
    ComparisonRecord,
    ContestantRecord,
    CostRecord,
    CurvePoint,
    DifferenceRecord,
    SeedRecord,
    TestRow,
)
from tuningfork.library.comparison_folder import ComparisonOptions, ComparisonPlan
from tuningfork.library.run_records import TuneOptions

COST = CostRecord(
    seconds=61.4, processor_seconds=50.0, peak_memory_bytes=1_240_000_000, trained_parameters=8_500_000,
    stored_bytes=17_000_000, num_calls=4, latency_p50_seconds=0.0123, latency_p95_seconds=0.02,
)  # fmt: skip


def plan(**options: Any) -> ComparisonPlan:
    """A comparison of two contestants that has just begun."""
    return ComparisonPlan(
        run=run_record(),
        options=ComparisonOptions(tuning=TuneOptions(), **options),
        contestants=("text prompt", "prompt tuning"),
        test_reads=1,
    )


def seed_record(seed: int, *scores: float) -> SeedRecord:
    """What a seed answered, by its scores."""
    return SeedRecord(seed=seed, predictions=tuple("yes" if s else "no" for s in scores), scores=scores)


def measured(name: str, *seeds: SeedRecord, **further: Any) -> ContestantRecord:
    """A contestant that was measured."""
    scores = [score for seed in seeds for score in seed.scores]
    given: dict[str, Any] = {"family": "soft", "mean": sum(scores) / len(scores), "cost": COST} | further
    return ContestantRecord(name=name, status="measured", seeds=seeds, **given)


def left_out(name: str, reason: str) -> ContestantRecord:
    """A contestant that could not take part."""
    return ContestantRecord(name=name, family="soft", status="left out", reason=reason)


def comparison(*contestants: ContestantRecord, **further: Any) -> ComparisonRecord:
    """A finished comparison on four test rows, each contestant with a gain of a quarter."""
    differences = tuple(
        DifferenceRecord(
            candidate=one.name, baseline="text prompt", mean=0.25, low=-0.1, high=0.6, level=0.95,
            covers="method", num_rows=4, p=0.2, adjusted_p=0.4, equivalence_low=0.0, equivalence_high=0.5,
            verdict=verdict, sentence=f"{one.name} is {verdict}.",
        )
        for one, verdict in zip(contestants[1:], _verdicts(), strict=False)
        if one.status == "measured"
    )  # fmt: skip
    known: dict[str, Any] = {
        "created": "2026-01-02T03:04:05+00:00", "task": "tickets", "task_type": "classification",
        "task_hash": "k", "metric": "accuracy", "metric_digits": 3, "metric_maximum": 1.0,
        "higher_is_better": True, "labels": ("yes", "no"), "model": "tiny", "model_hash": "w",
        "num_model_parameters": 1, "num_train": 12, "num_folds": 3, "num_seeds": 2, "max_steps": 4,
        "rows": tuple(TestRow(inputs={"text": str(row)}, targets=("yes",)) for row in range(4)),
        "headline": "Prompt tuning is better than the text prompt.", "environment": {}, "seconds": 75.0,
        "notes": ("Test set read for the first time by runs in this folder.",),
    }  # fmt: skip
    known |= {"contestants": contestants, "differences": differences}
    return ComparisonRecord(**known | further)


def curve(name: str, *means: float) -> tuple[CurvePoint, ...]:
    """Points at 4, 8, 12 ... examples."""
    return tuple(
        CurvePoint(contestant=name, num_train=4 * number, num_seeds=2, mean=mean, low=0.0, high=1.0)
        for number, mean in enumerate(means, start=1)
    )


def _verdicts() -> tuple[Any, ...]:
    return "better", "worse", "equivalent", "not enough data"
