"""The proof of a run: every way of prompting on the same test rows, side by side, and a verdict."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tuningfork.data.example import Example
from tuningfork.evaluation.evaluate import Evaluation
from tuningfork.evaluation.measured_metrics import measure
from tuningfork.evaluation.pooled_scores import score_difference, score_interval
from tuningfork.evaluation.tagging import evaluator_for
from tuningfork.library.run_records import (
    MOST_FREQUENT_TAG,
    NO_PROMPT,
    TEXT_PROMPT,
    MetricRecord,
    VerdictRecord,
    WayRecord,
)
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.machine import peak_memory_bytes
from tuningfork.models.prefix import PrefixState
from tuningfork.recipes.baselines import choose_few_shot
from tuningfork.recipes.preparation import Prepared
from tuningfork.tasks.metrics import Metric


@dataclass(frozen=True, slots=True)
class Way:
    """One way of prompting, before it meets the test split."""

    name: str
    evaluate: Callable[[Sequence[Example]], Evaluation]
    seconds: float
    peak_memory_bytes: int
    trained_parameters: int
    stored_bytes: int


def baseline_ways(
    prepared: Prepared, model: FrozenModel, text_prefix: PrefixState, *, seed: int
) -> list[Way]:
    """What needs no training: no prompt, the text prompt, and demonstrations where some fit.

    Where words are tagged, no words say tags: there it is the most frequent tag of the training rows.
    """
    renderer, evaluator = prepared.renderer, evaluator_for(model, prepared.task, prepared.renderer)
    if prepared.task.has_tags:
        evaluate = partial(evaluator.evaluate, text_prefix)
        return [Way(MOST_FREQUENT_TAG, evaluate, 0.0, peak_memory_bytes(model.device), 0, 0)]
    started = time.perf_counter()
    few_shot = choose_few_shot(prepared, model, evaluator, seed=seed)
    seconds = time.perf_counter() - started
    memory = peak_memory_bytes(model.device)
    words = len(renderer.prefix_text.encode())
    bare = model.prefix([renderer.bare_prefix_ids])
    ways = [
        Way(NO_PROMPT, partial(evaluator.evaluate, bare), 0.0, memory, 0, 0),
        Way(TEXT_PROMPT, partial(evaluator.evaluate, text_prefix), 0.0, memory, 0, words),
    ]
    if few_shot is not None:
        name = f"few-shot, {few_shot.num_demonstrations} rows"
        shown = partial(evaluator.evaluate, model.prefix([few_shot.prefix_ids]))
        ways.append(Way(name, shown, seconds, memory, 0, few_shot.stored_bytes))
    return ways


def evaluate_ways(ways: Sequence[Way], test: Sequence[Example]) -> dict[str, Evaluation]:
    """Read the test split with every way of prompting, by its name."""
    return {way.name: way.evaluate(test) for way in ways}


def way_records(
    ways: Sequence[Way],
    evaluations: Mapping[str, Evaluation],
    metric: Metric,
    *,
    seed: int,
    further: Sequence[Metric] = (),
) -> tuple[WayRecord, ...]:
    """The ways with their figures, each with an interval; `further` metrics stand beside the main one."""
    return tuple(_way_record(way, evaluations[way.name], metric, seed, further) for way in ways)


def verdict_on(
    answer: str,
    evaluations: Mapping[str, Evaluation],
    metric: Metric,
    *,
    seed: int,
    margin: float | None = None,
) -> VerdictRecord:
    """The way called `answer` against the text prompt or the most frequent tag, row by row.

    `margin` is the smallest difference that matters; with it, the two can be equivalent.
    """
    baseline = TEXT_PROMPT if TEXT_PROMPT in evaluations else MOST_FREQUENT_TAG
    difference = score_difference(
        evaluations[answer], evaluations[baseline], metric, np.random.default_rng(seed), margin=margin
    )
    return VerdictRecord(
        verdict=difference.verdict,
        difference=difference.mean,
        low=difference.interval.low,
        high=difference.interval.high,
        num_rows=difference.n,
        needed_rows=difference.needed_n,
        mcnemar_p=difference.mcnemar_p,
        margin=margin,
        sentence=difference.sentence(metric.name, (f"the {answer}", f"the {baseline}")),
    )


def prediction_rows(test: Sequence[Example], evaluations: Mapping[str, Evaluation]) -> list[dict[str, Any]]:
    """What each way of prompting answered, row by row, as it is written down; words and tags are lists."""
    has_tags = MOST_FREQUENT_TAG in evaluations

    def written(text: str) -> str | list[str]:
        return text.split() if has_tags else text

    return [
        {
            "source": example.source,
            "inputs": {name: written(text) for name, text in example.inputs.items()}
            or [{"role": m.role, "content": m.content} for m in example.messages],
            "targets": [written(target) for target in example.targets],
            "predictions": {name: written(e.predictions[index]) for name, e in evaluations.items()},
            "scores": {name: e.scores[index] for name, e in evaluations.items()},
            "log_losses": {name: e.log_losses[index] for name, e in evaluations.items()},
            "probabilities": {
                name: e.probabilities[index] for name, e in evaluations.items() if e.probabilities is not None
            },
        }
        for index, example in enumerate(test)
    ]


def _way_record(
    way: Way, evaluation: Evaluation, metric: Metric, seed: int, further: Sequence[Metric]
) -> WayRecord:
    measured = measure(further, [evaluation], np.random.default_rng(seed))
    digits = {one.name: one.digits for one in further}
    interval = score_interval(evaluation, metric, np.random.default_rng(seed))
    return WayRecord(
        name=way.name,
        num_rows=len(evaluation.scores),
        score=evaluation.mean_score,
        low=interval.low,
        high=interval.high,
        log_loss=evaluation.mean_log_loss,
        seconds=way.seconds,
        peak_memory_bytes=way.peak_memory_bytes,
        trained_parameters=way.trained_parameters,
        stored_bytes=way.stored_bytes,
        metrics=tuple(MetricRecord(digits=digits[one.name], **one.model_dump()) for one in measured),
    )
