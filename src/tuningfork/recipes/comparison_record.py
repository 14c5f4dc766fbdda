"""From what contestants came to, to the record of a comparison: intervals, differences, verdict, notes."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tuningfork.data.example import Example
from tuningfork.evaluation.comparison import (
    ComparisonRecord,
    ContestantRecord,
    CurvePoint,
    MeasuredMetric,
    SeedRecord,
    TestRow,
)
from tuningfork.evaluation.cost_notes import cost_notes
from tuningfork.evaluation.evaluate import Evaluation
from tuningfork.evaluation.measured_metrics import measured_metrics
from tuningfork.evaluation.pooled_scores import row_values
from tuningfork.evaluation.split_scores import linearised_scores
from tuningfork.evaluation.verdicts import Judgement, MeanScore, judge_contestants
from tuningfork.library.comparison_folder import ComparisonPlan
from tuningfork.recipes.preparation import Prepared
from tuningfork.tasks.metrics import Metric
from tuningfork.tasks.split_metrics import SplitMetric
from tuningfork.tasks.task import Task


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
    task, metric, tuning = prepared.task, prepared.task.scoring, plan.options.tuning
    judged = _judged(contestants, task, seed=tuning.seed)
    finished = tuple(_with_interval(one, judged.intervals) for one in contestants)
    num_train = len(prepared.rows if prepared.is_cross_validated else prepared.folds[0].train)
    return ComparisonRecord(
        created=plan.run.created,
        command=plan.command,
        task=task.name,
        task_type=task.type,
        task_hash=plan.run.task_hash,
        metric=metric.name,
        metric_digits=metric.digits,
        metric_maximum=metric.maximum,
        higher_is_better=metric.higher_is_better,
        margin=task.margin,
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
        curves=tuple(_curve_points(finished, curves, task, num_train, seed=tuning.seed)),
        headline=judged.headline,
        notes=(*judged.notes, *cost_notes(contestants), *notes),
        environment=plan.run.environment,
        seconds=seconds,
    )


def seed_record(seed: int, evaluation: Evaluation, metric: Metric) -> SeedRecord:
    """What one seed answered on the test rows, by the metric of the task."""
    log_losses = evaluation.log_losses
    values = linearised_scores(metric, evaluation.answers) if isinstance(metric, SplitMetric) else None
    return SeedRecord(
        seed=seed,
        predictions=tuple(evaluation.predictions),
        scores=tuple(evaluation.scores),
        # Of a training that ended in no numbers there is none.
        log_losses=tuple(log_losses) if log_losses and np.isfinite(log_losses).all() else None,
        weights=None if evaluation.weights is None else tuple(evaluation.weights),
        values=None if values is None else tuple(values),
        probabilities=_probabilities(evaluation.probabilities),
    )


def further_metrics(
    task: Task, test: Sequence[Example], seeds: Sequence[SeedRecord], *, seed: int
) -> tuple[MeasuredMetric, ...]:
    """The usual metrics of this type of task beside its own, and those that its file names, over `seeds`.

    Raises:
        TaskError: if a function of the user's fails on a row.
    """
    references = [example.targets for example in test]
    return measured_metrics(
        task, [_evaluation(one) for one in seeds], references, np.random.default_rng(seed)
    )


def mean_score(seeds: Sequence[SeedRecord]) -> float:
    """The task's metric over the test rows, and then over seeds."""
    return float(np.mean([np.mean(seed.values or row_values(seed.scores, seed.weights)) for seed in seeds]))


def _judged(contestants: Sequence[ContestantRecord], task: Task, *, seed: int) -> Judgement:
    metric = task.scoring
    return judge_contestants(
        contestants,
        metric_name=metric.name,
        digits=metric.digits,
        higher_is_better=metric.higher_is_better,
        maximum=metric.maximum,
        margin=task.margin,
        rng=np.random.default_rng(seed),
    )


def _probabilities(found: Sequence[Sequence[float]] | None) -> tuple[tuple[float, ...], ...] | None:
    if found is None or not np.isfinite(found).all():
        return None
    return tuple(tuple(row) for row in found)


def _evaluation(seed: SeedRecord) -> Evaluation:
    """What was written down of a seed, as further metrics take it."""
    log_losses = [math.nan] * len(seed.scores) if seed.log_losses is None else list(seed.log_losses)
    return Evaluation(
        list(seed.predictions),
        list(seed.scores),
        log_losses,
        0.0,
        None if seed.weights is None else list(seed.weights),
        None if seed.probabilities is None else [list(row) for row in seed.probabilities],
    )


def _with_interval(contestant: ContestantRecord, intervals: Mapping[str, MeanScore]) -> ContestantRecord:
    found = intervals.get(contestant.name)
    if found is None:
        return contestant
    changes = {"mean": found.mean, "low": found.low, "high": found.high, "covers": found.covers}
    return contestant.model_copy(update=changes)


def _curve_points(
    contestants: Sequence[ContestantRecord],
    curves: Mapping[int, Sequence[ContestantRecord]],
    task: Task,
    num_train: int,
    *,
    seed: int,
) -> list[CurvePoint]:
    """The contestants trained on some of the rows, and on all of them."""
    if not curves:
        return []
    points = []
    for count, measured in [*sorted(curves.items()), (num_train, contestants)]:
        intervals = _judged(measured, task, seed=seed).intervals
        points += [
            CurvePoint(
                contestant=one.name,
                num_train=count,
                num_seeds=len(one.seeds),
                mean=intervals[one.name].mean,
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
