"""Further metrics of answers, each over all trainings that gave them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tuningfork.evaluation.calibration import ece_null
from tuningfork.evaluation.comparison import MeasuredMetric
from tuningfork.evaluation.evaluate import Evaluation, row_scores
from tuningfork.evaluation.pooled_scores import row_values, score_interval
from tuningfork.evaluation.split_scores import split_interval
from tuningfork.tasks.answers import Answers
from tuningfork.tasks.metric_choice import default_metrics
from tuningfork.tasks.metrics import Metric, get_metric
from tuningfork.tasks.rouge import has_rouge
from tuningfork.tasks.split_metrics import SplitMetric
from tuningfork.tasks.task import Task


def measured_metrics(
    task: Task,
    evaluations: Sequence[Evaluation],
    references: Sequence[Sequence[str]],
    rng: np.random.Generator,
) -> tuple[MeasuredMetric, ...]:
    """Return the usual metrics of this type of task, then those its file names, of one contestant.

    `evaluations` are of one training each, all on the rows with `references`. What answers lack numbers for
    is left out, and so is ROUGE where it is not installed, unless the task names it.

    Raises:
        TaskError: If a function of the user's fails on a row.
    """
    usual = [
        get_metric(name)
        for name in default_metrics(task.type, task.labels)
        if name != task.metric and (has_rouge() or not name.startswith("rouge"))
    ]
    named = [metric for metric in task.further_metrics if metric.name not in {one.name for one in usual}]
    labels = tuple(task.labels) if task.labels and not task.has_tags else ()
    complete = [replace(one, references=references, labels=labels) for one in evaluations]
    return measure([*usual, *named], complete, rng)


def measure(
    metrics: Sequence[Metric], evaluations: Sequence[Evaluation], rng: np.random.Generator
) -> tuple[MeasuredMetric, ...]:
    """Return each of `metrics` as the mean over `evaluations`, which have references.

    Intervals are for other rows; what the evaluations lack numbers for is left out.

    Raises:
        TaskError: If a function of the user's fails on a row.
    """
    trainings = [evaluation.answers for evaluation in evaluations] if metrics else []
    found = []
    for metric in metrics:
        if not isinstance(metric, SplitMetric):
            found.append(_of_rows(metric, trainings, rng))
        elif all(metric.can_score(answers) for answers in trainings):
            found.append(_of_split(metric, trainings, rng))
    return tuple(found)


def _of_split(metric: SplitMetric, trainings: Sequence[Answers], rng: np.random.Generator) -> MeasuredMetric:
    interval = split_interval(metric, trainings, rng)
    return MeasuredMetric(
        name=metric.name,
        value=float(np.mean([metric.of(answers) for answers in trainings])),
        low=interval.low,
        high=interval.high,
        note=ece_null(trainings, rng).note(metric.digits) if metric.name == "ece" else "",
        higher_is_better=metric.higher_is_better,
    )


def _of_rows(metric: Metric, trainings: Sequence[Answers], rng: np.random.Generator) -> MeasuredMetric:
    weights = [_weights(metric, answers) for answers in trainings]
    counting = [place for place, row in enumerate(zip(*weights, strict=True)) if any(row)]
    places = counting or range(len(trainings[0]))
    values = []
    for answers, weight in zip(trainings, weights, strict=True):
        scores = row_scores(metric, answers.predictions, answers.references)
        kept = [[of_row[place] for place in places] for of_row in (scores, weight)]
        values.append(row_values(kept[0], kept[1] if metric.weight is not None else None))
    means = np.mean(values, axis=0).tolist()
    interval = score_interval(Evaluation([], means, [], 0.0), metric, rng)
    return MeasuredMetric(
        name=metric.name,
        value=float(np.mean(means)),
        low=interval.low,
        high=interval.high,
        higher_is_better=metric.higher_is_better,
    )


def _weights(metric: Metric, answers: Answers) -> list[float]:
    if metric.weight is None:
        return [1.0] * len(answers)
    return list(map(metric.weight, answers.predictions, answers.references))
