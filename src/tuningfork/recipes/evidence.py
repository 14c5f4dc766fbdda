"""Evaluations that were made anyway, as evidence of versions: those of runs and of comparisons."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from tuningfork.data.example import Example, Message
from tuningfork.data.hashing import hash_example
from tuningfork.errors import LibraryError, RunError, TaskError
from tuningfork.evaluation.comparison import ComparisonRecord, SeedRecord
from tuningfork.evaluation.evaluate import row_scores
from tuningfork.library.datasets import hash_of_keys
from tuningfork.library.evidence import EvaluationRow, Evidence, EvidenceHeader, MetricScale
from tuningfork.library.run_folder import RunFolder
from tuningfork.tasks.answers import Answers
from tuningfork.tasks.metrics import Metric
from tuningfork.tasks.split_metrics import MOST_NATS, SplitMetric


def evidence_of_run(folder: RunFolder, content_hash: str, *, way: str | None = None) -> Evidence:
    """What a finished run measured on its test rows, by default of the way it answers with.

    Raises:
        RunError: if the run has no answers to its test rows, or not those of the test set it names.
        TaskError: if the metric is code that nobody has said to trust.
    """
    result, record = folder.result, folder.record
    name, metric = way or result.answer, folder.task.scoring
    rows = read_predictions(folder)
    if not rows or name not in rows[0]["predictions"]:
        known = ", ".join(rows[0]["predictions"]) if rows else "nothing"
        raise RunError(f"{folder.path}: no answers of {name!r} to its test rows, found those of {known}")
    evidence = evidence_of_answers(
        [example_of(row) for row in rows],
        [_text(row["predictions"][name]) for row in rows],
        metric,
        content_hash,
        scores=[row["scores"][name] for row in rows],
        log_losses=[row["log_losses"][name] for row in rows],
        probabilities=_probabilities(rows, name),
        labels=tuple(folder.task.labels or ()) if not folder.task.has_tags else (),
        base=record.model.weights,
        origin="run",
    )
    if evidence.header.dataset != record.test_hash:
        raise RunError(
            f"{folder.path}: its test_predictions.jsonl is not of the test set {record.test_hash[:12]} that "
            "its run.json names; one of them was changed"
        )
    return evidence


def evidence_of_comparison(
    record: ComparisonRecord, contestant: str, content_hash: str, *, seed: int | None = None
) -> Evidence:
    """What a comparison measured of one contestant; of one that was trained with several seeds, one of them.

    Whether the contestant is the version that the content hash is of, whoever calls must know.

    Raises:
        LibraryError: if there is no such contestant or seed, it was not measured, or rows are conversations.
    """
    found = next((one for one in record.contestants if one.name == contestant), None)
    if found is None or not found.seeds:
        names = ", ".join(one.name for one in record.contestants if one.seeds)
        raise LibraryError(f"{contestant!r:.80}: the comparison measured no such contestant; found {names}")
    chosen = [one for one in found.seeds if seed in (None, one.seed)]
    if len(chosen) != 1:
        seeds = ", ".join(str(one.seed) for one in found.seeds)
        raise LibraryError(f"{contestant}: was trained with the seeds {seeds}; name one of them: --seed")
    if any(not row.inputs for row in record.rows):
        raise LibraryError("a comparison on conversations does not keep its rows, so it is no evidence")
    scale = MetricScale(
        name=record.metric, higher_is_better=record.higher_is_better, maximum=record.metric_maximum
    )
    examples = [Example(inputs=row.inputs, targets=row.targets) for row in record.rows]
    return _evidence(
        examples,
        chosen[0],
        scale,
        content_hash,
        labels=record.labels,
        base=record.model_hash,
        origin="comparison",
    )


def evidence_of_answers(
    examples: Sequence[Example],
    predictions: Sequence[str],
    metric: Metric,
    content_hash: str,
    *,
    log_losses: Sequence[float] | None = None,
    probabilities: Sequence[Sequence[float]] | None = None,
    labels: tuple[str, ...] = (),
    scores: Sequence[float] | None = None,
    base: str = "",
    origin: str = "",
) -> Evidence:
    """Evaluation evidence of answers to `examples`, scored by `metric` unless `scores` are given.

    Raises:
        LibraryError: if a score cannot be one of the metric.
        TaskError: if the metric needs what the answers do not have.
    """
    references = [example.targets for example in examples]
    if scores is None:
        answers = Answers(predictions, references, log_losses, probabilities, labels)
        if not isinstance(metric, SplitMetric):
            scores = row_scores(metric, predictions, references, [one.source for one in examples])
        elif metric.can_score(answers):
            scores = metric.row_scores(answers)
        else:
            raise TaskError(f"metric {metric.name} needs {metric.needs}, which these answers do not have")
    weights = None if metric.weight is None else list(map(metric.weight, predictions, references))
    return _evidence(
        examples,
        SeedRecord(
            seed=0,
            predictions=tuple(predictions),
            scores=tuple(scores),
            log_losses=None if log_losses is None else tuple(log_losses),
            weights=None if weights is None else tuple(weights),
            probabilities=None if probabilities is None else tuple(map(tuple, probabilities)),
        ),
        MetricScale.of(metric),
        content_hash,
        labels=labels,
        base=base,
        origin=origin,
    )


def read_predictions(folder: RunFolder) -> list[dict[str, Any]]:
    """What each way of prompting answered to the test rows of a run.

    Raises:
        RunError: if the file is missing or damaged.
    """
    try:
        rows = folder.load_predictions()
        for row in rows:
            _ = row["predictions"], row["scores"], row["log_losses"], row["inputs"], row["targets"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{folder.path}: the answers to its test rows cannot be read ({type(error).__name__}: {error})"
        ) from error
    return rows


def example_of(row: Mapping[str, Any]) -> Example:
    """The test row that a run wrote down with its answers."""
    inputs, targets = row["inputs"], tuple(map(_text, row["targets"]))
    if isinstance(inputs, list):
        return Example(
            targets=targets, messages=tuple(Message(turn["role"], turn["content"]) for turn in inputs)
        )
    texts = {name: _text(value) for name, value in inputs.items()}
    return Example(inputs=texts, targets=targets, source=row.get("source", ""))


def _evidence(
    examples: Sequence[Example],
    found: SeedRecord,
    scale: MetricScale,
    content_hash: str,
    *,
    labels: tuple[str, ...],
    base: str,
    origin: str,
) -> Evidence:
    keys = [hash_example(example) for example in examples]
    rows = [
        _row(place, key, example.targets, found)
        for place, (key, example) in enumerate(zip(keys, examples, strict=True))
    ]
    header = EvidenceHeader(
        kind="evaluation",
        content_hash=content_hash,
        dataset=hash_of_keys(keys),
        metric=scale,
        labels=labels,
        base=base,
        origin=origin,
    )
    return Evidence(header, rows)


def _row(place: int, key: str, targets: tuple[str, ...], found: SeedRecord) -> EvaluationRow:
    try:
        return EvaluationRow(
            row=key,
            score=found.scores[place],
            log_loss=None if found.log_losses is None else _nats(found.log_losses[place]),
            weight=None if found.weights is None else found.weights[place],
            answer=found.predictions[place],
            targets=targets,
            probabilities=None if found.probabilities is None else _shares(found.probabilities[place]),
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise LibraryError(f"row {place + 1} is no evidence: {field}: {first['msg']}") from error


def _probabilities(rows: Sequence[Mapping[str, Any]], name: str) -> list[list[float]] | None:
    found = [row.get("probabilities", {}).get(name) for row in rows]
    return None if None in found else found


def _text(value: str | list[str]) -> str:
    """Words and tags are written as lists."""
    return value if isinstance(value, str) else " ".join(value)


def _nats(loss: float) -> float:
    """A log-loss as metrics count it: JSON has no infinity, nor any use for what is no number."""
    return loss if math.isfinite(loss) and loss < MOST_NATS else MOST_NATS


def _shares(probabilities: Sequence[float]) -> tuple[float, ...] | None:
    # A training that diverged says nothing.
    return tuple(probabilities) if all(map(math.isfinite, probabilities)) else None
