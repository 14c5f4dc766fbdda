"""From what contestants came to, to the record of a comparison: intervals, differences, verdict, notes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tuningfork.data.example import Example
from tuningfork.evaluation.comparison import (
    TEXT_PROMPT,
    ComparisonRecord,
    ContestantRecord,
    CurvePoint,
    DifferenceRecord,
    SeedRecord,
    TestRow,
)
from tuningfork.evaluation.evaluate import Evaluation
from tuningfork.evaluation.pooled_scores import row_values
from tuningfork.evaluation.statistics import Interval, mean_interval, paired_difference
from tuningfork.library.comparison_folder import ComparisonPlan
from tuningfork.recipes.preparation import Prepared
from tuningfork.tasks.metrics import Metric, get_metric


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the test rows say of contestants."""

    differences: tuple[DifferenceRecord, ...]
    headline: str
    intervals: Mapping[str, Interval]
    """Of the mean score, by name."""
    notes: tuple[str, ...]


def comparison_record(
    plan: ComparisonPlan,
    prepared: Prepared,
    contestants: Sequence[ContestantRecord],
    curves: Mapping[int, Sequence[ContestantRecord]],
    *,
    notes: Sequence[str],
    seconds: float,
) -> ComparisonRecord:
    """The record of a finished comparison; `curves` holds contestants by the number of rows they had."""
    task, metric, tuning = prepared.task, get_metric(prepared.task.metric), plan.options.tuning
    judged = _judged(contestants, metric, seed=tuning.seed)
    finished = tuple(_with_interval(one, judged.intervals) for one in contestants)
    num_train = len(prepared.rows if prepared.is_cross_validated else prepared.folds[0].train)
    return ComparisonRecord(
        created=plan.run.created,
        task=task.name,
        task_type=task.type,
        task_hash=plan.run.task_hash,
        metric=metric.name,
        metric_digits=metric.digits,
        metric_maximum=metric.maximum,
        higher_is_better=metric.higher_is_better,
        labels=tuple(task.labels or ()),
        model=plan.run.model.name,
        model_hash=plan.run.model.weights,
        num_model_parameters=plan.run.model.num_parameters,
        num_train=num_train,
        num_folds=len(prepared.folds),
        num_seeds=tuning.num_seeds,
        max_steps=tuning.max_steps,
        budget_seconds=plan.options.budget_seconds,
        rows=tuple(TestRow(inputs=_shown(row), targets=tuple(row.targets)) for row in prepared.test),
        contestants=finished,
        differences=judged.differences,
        curves=tuple(_curve_points(finished, curves, metric, num_train, seed=tuning.seed)),
        headline=judged.headline,
        notes=(*judged.notes, *notes),
        environment=plan.run.environment,
        seconds=seconds,
    )


def seed_record(seed: int, evaluation: Evaluation) -> SeedRecord:
    """What one seed answered on the test rows."""
    log_losses = evaluation.log_losses
    return SeedRecord(
        seed=seed,
        predictions=tuple(evaluation.predictions),
        scores=tuple(evaluation.scores),
        # Of a training that ended in no numbers there is none.
        log_losses=tuple(log_losses) if log_losses and np.isfinite(log_losses).all() else None,
        weights=None if evaluation.weights is None else tuple(evaluation.weights),
    )


def mean_score(seeds: Sequence[SeedRecord]) -> float:
    """The task's metric over the test rows, and then over seeds."""
    return float(np.mean([np.mean(row_values(seed.scores, seed.weights)) for seed in seeds]))


def _judged(contestants: Sequence[ContestantRecord], metric: Metric, *, seed: int) -> Judgement:
    """Every measured contestant against the text prompt, by its means over seeds, row by row."""
    rows = {one.name: _row_means(one) for one in contestants if one.status == "measured"}
    bounds = (
        min([0.0, *(min(values) for values in rows.values())]),
        max([metric.maximum, *(max(values) for values in rows.values())]),
    )
    intervals = {
        name: mean_interval(values, bounds=bounds, rng=np.random.default_rng(seed))
        for name, values in rows.items()
    }
    if TEXT_PROMPT not in rows:
        return Judgement((), f"Nothing to compare with: the {TEXT_PROMPT} was not measured.", intervals, ())
    differences = []
    for name, values in rows.items():
        if name == TEXT_PROMPT:
            continue
        found = paired_difference(
            values,
            rows[TEXT_PROMPT],
            bounds=bounds,
            higher_is_better=metric.higher_is_better,
            rng=np.random.default_rng(seed),
        )
        p = found.mcnemar_p
        if p is None:
            p = _student_p(np.subtract(values, rows[TEXT_PROMPT]))
        differences.append(
            DifferenceRecord(
                candidate=name,
                baseline=TEXT_PROMPT,
                mean=found.mean,
                low=found.interval.low,
                high=found.interval.high,
                level=found.interval.level,
                covers="artefact",
                num_rows=found.n,
                p=p,
                adjusted_p=min(1.0, p * (len(rows) - 1)),
                mcnemar_p=found.mcnemar_p,
                equivalence_low=found.equivalence_interval.low,
                equivalence_high=found.equivalence_interval.high,
                verdict=found.verdict,
                needed_rows=found.needed_n,
                flips_better=tuple(found.flips_better),
                flips_worse=tuple(found.flips_worse),
                sentence=found.sentence(metric.name, (name, f"the {TEXT_PROMPT}")),
            )
        )
    if not differences:
        return Judgement((), f"Only the {TEXT_PROMPT} was measured.", intervals, ())
    sign = 1 if metric.higher_is_better else -1
    best = max(differences, key=lambda difference: sign * difference.mean)
    return Judgement(tuple(differences), best.sentence, intervals, ())


def _student_p(differences: NDArray[np.float64]) -> float:
    """Of no difference, by Student's paired test; equal differences have no spread to test by."""
    if float(np.ptp(differences)) == 0.0:
        return 1.0 if float(differences[0]) == 0.0 else 0.0
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def _row_means(contestant: ContestantRecord) -> list[float]:
    """One value for each test row: its mean over seeds."""
    values = [row_values(seed.scores, seed.weights) for seed in contestant.seeds]
    return [float(mean) for mean in np.mean(values, axis=0)]


def _with_interval(contestant: ContestantRecord, intervals: Mapping[str, Interval]) -> ContestantRecord:
    interval = intervals.get(contestant.name)
    if interval is None:
        return contestant
    return contestant.model_copy(update={"low": interval.low, "high": interval.high})


def _curve_points(
    contestants: Sequence[ContestantRecord],
    curves: Mapping[int, Sequence[ContestantRecord]],
    metric: Metric,
    num_train: int,
    *,
    seed: int,
) -> list[CurvePoint]:
    """The contestants trained on some of the rows, and on all of them."""
    if not curves:
        return []
    points = []
    for count, measured in [*sorted(curves.items()), (num_train, contestants)]:
        intervals = _judged(measured, metric, seed=seed).intervals
        points += [
            CurvePoint(
                contestant=one.name,
                num_train=count,
                num_seeds=len(one.seeds),
                mean=mean_score(one.seeds),
                low=intervals[one.name].low,
                high=intervals[one.name].high,
            )
            for one in measured
            if one.status == "measured"
        ]
    return points


def _shown(row: Example) -> dict[str, str]:
    """The inputs of a row; of a conversation, what was said."""
    said = "\n".join(f"{message.role}: {message.content}" for message in row.messages)
    return dict(row.inputs) or {"messages": said}
