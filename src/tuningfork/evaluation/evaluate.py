"""Scores of a prompt over a split."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from tuningfork.data.example import Example
from tuningfork.errors import TaskError
from tuningfork.models.batch import batches_by_length
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.path import SamplingOptions
from tuningfork.models.prefix import PrefixState
from tuningfork.tasks.answers import Answers
from tuningfork.tasks.metrics import Metric
from tuningfork.tasks.rendering import RowRenderer
from tuningfork.tasks.split_metrics import SplitMetric
from tuningfork.tasks.task import Task
from tuningfork.tasks.verbalizer import Verbalizer
from tuningfork.training.calibration import tempered_log_losses
from tuningfork.training.checkpoint import Validation
from tuningfork.training.objectives import row_losses
from tuningfork.types import TrainingRow


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One prompt on one split; the lists are parallel to the split's examples."""

    predictions: list[str]
    scores: list[float]
    """The task's metric for each example."""
    log_losses: list[float]
    """Nats: of the right label among the labels, or per token of the first reference, or per word to tag; NaN
    where answers came as words alone, from a model that shows no probabilities."""
    seconds: float
    weights: list[float] | None = None
    """What each example's score counts for in that of the split; None if all count alike."""
    probabilities: list[list[float]] | None = None
    """Of each label, in the task's order, for each example; None where there are none."""
    references: Sequence[Sequence[str]] | None = None
    """What would be right; None where nothing but the task's metric is asked for."""
    labels: tuple[str, ...] = ()
    """Whose probabilities these are."""
    split_score: float | None = None
    """The task's metric over the split, where it is no mean over its rows."""
    tempered_log_losses: tuple[float, ...] = ()
    """Mean log-loss at each of `calibration.TEMPERATURES`; empty where no labels are told apart."""

    @property
    def answers(self) -> Answers:
        """The rows as further metrics take them."""
        assert self.references is not None
        log_losses = self.log_losses if self.has_log_losses else None
        return Answers(self.predictions, self.references, log_losses, self.probabilities, self.labels)

    @property
    def mean_score(self) -> float:
        """The task's metric over the split."""
        if self.split_score is not None:
            return self.split_score
        if self.weights is None or not any(self.weights):
            return sum(self.scores) / len(self.scores)
        weighed = (weight * score for weight, score in zip(self.weights, self.scores, strict=True))
        return sum(weighed) / sum(self.weights)

    @property
    def validation(self) -> Validation:
        """What selection needs of it."""
        return Validation(self.mean_score, self.mean_log_loss, len(self.scores), self.tempered_log_losses)

    @property
    def has_log_losses(self) -> bool:
        """Whether the answers came with probabilities."""
        return not any(map(math.isnan, self.log_losses))

    @property
    def mean_log_loss(self) -> float:
        """Mean log-loss over the split, in nats."""
        return sum(self.log_losses) / len(self.log_losses)


def scored(
    task: Task,
    examples: Sequence[Example],
    predictions: list[str],
    log_losses: list[float],
    started: float,
    *,
    probabilities: list[list[float]] | None = None,
    tempered_log_losses: tuple[float, ...] = (),
) -> Evaluation:
    """What `predictions` of `examples` are worth by the metric of `task`; `started` is a `perf_counter`.

    `probabilities` are those of the task's labels, in its order.

    Raises:
        TaskError: if the metric is a function of the user's that fails on a row, or needs probabilities where
            there are none.
    """
    metric = task.scoring
    references = [example.targets for example in examples]
    labels = tuple(task.labels) if task.labels and not task.has_tags else ()
    found = Evaluation(
        predictions,
        [],
        log_losses,
        0.0,
        None if metric.weight is None else list(map(metric.weight, predictions, references)),
        probabilities,
        references,
        labels,
        tempered_log_losses=tempered_log_losses,
    )
    if not isinstance(metric, SplitMetric):
        sources = [example.source for example in examples]
        scores, whole = row_scores(metric, predictions, references, sources), None
    elif metric.can_score(found.answers):
        scores, whole = metric.row_scores(found.answers), metric.of(found.answers)
    else:
        raise TaskError(f"metric: {metric.name} needs {metric.needs}, which these answers do not have")
    return replace(found, scores=scores, split_score=whole, seconds=time.perf_counter() - started)


def row_scores(
    metric: Metric,
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    sources: Sequence[str] = (),
) -> list[float]:
    """The score of each of `predictions`, by a metric of rows; `sources` say where the rows were found.

    Raises:
        TaskError: if the metric is a function of the user's that fails; the message names the row.
    """
    scores = []
    for place, row in enumerate(zip(predictions, references, strict=True)):
        try:
            scores.append(metric.score(*row))
        except TaskError as error:
            source = sources[place] if sources else ""
            raise TaskError(f"{source or f'row {place + 1}'}: {error}") from error
    return scores


def label_probabilities(
    task: Task, labels: Sequence[str], log_probabilities: torch.Tensor
) -> list[list[float]]:
    """Probabilities (N, C) in the order of the task, from log-probabilities in that of `labels`."""
    order = [list(labels).index(label) for label in task.labels or labels]
    found: list[list[float]] = log_probabilities[:, order].exp().tolist()
    return found


@dataclass(frozen=True, slots=True)
class TaggedWord:
    """A word with its tag."""

    word: str
    tag: str
    probabilities: dict[str, float]
    """Of each tag."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model answers to one input."""

    text: str
    """The label, or the generated answer, or the tags of the words with spaces between."""
    probabilities: dict[str, float] | None = None
    """Of each label; None where the answer is generated, or words are tagged."""
    tagged: tuple[TaggedWord, ...] | None = None
    """The words of the input, where each has a tag."""

    def fields(self, *, digits: int | None = None) -> dict[str, object]:
        """The answer as it is written in JSON: `prediction` and, where there are some, `probabilities`.

        Where words are tagged, both are lists with an entry for each word. With `digits`, probabilities are
        rounded.
        """

        def shown(shares: dict[str, float]) -> dict[str, float]:
            return (
                shares if digits is None else {name: round(share, digits) for name, share in shares.items()}
            )

        if self.tagged is not None:
            return {
                "prediction": [word.tag for word in self.tagged],
                "probabilities": [shown(word.probabilities) for word in self.tagged],
            }
        if self.probabilities is None:
            return {"prediction": self.text}
        return {"prediction": self.text, "probabilities": shown(self.probabilities)}


class Evaluator:
    """Runs prompts of one task on one model: predicts, and scores against references."""

    def __init__(
        self, model: FrozenModel, task: Task, renderer: RowRenderer, *, batch_size: int = 16
    ) -> None:
        self._model = model
        self._task = task
        self._renderer = renderer
        self._batch_size = batch_size

    @property
    def metric(self) -> Metric:
        """What scores the answers."""
        return self._task.scoring

    def validate(
        self, prefix: PrefixState, examples: Sequence[Example], *, generates: bool = True
    ) -> Validation:
        """What selection needs of an evaluation; unless it `generates`, no metric of generated answers."""
        if generates or self._renderer.choices is not None:
            found = self.evaluate(prefix, examples)
            # A metric of the whole split is no mean of those of folds.
            is_mean = found.split_score is None or generates
            return found.validation if is_mean else replace(found.validation, metric=None)
        rows = [self._renderer.row_ids(example) for example in examples]
        log_losses = self._answer_log_losses(prefix, rows, examples)
        return Validation(None, sum(log_losses) / len(log_losses), len(log_losses))

    def evaluate(self, prefix: PrefixState, examples: Sequence[Example]) -> Evaluation:
        """Score the prompt behind `prefix` on `examples`, each with at least one target."""
        started = time.perf_counter()
        rows = [self._renderer.row_ids(example) for example in examples]
        verbalizer = self._renderer.choices
        tempered: tuple[float, ...] = ()
        if verbalizer is None:
            predictions, probabilities = self._generate(prefix, rows), None
            log_losses = self._answer_log_losses(prefix, rows, examples)
        else:
            found = self._label_log_probabilities(prefix, rows, verbalizer)
            predictions = [verbalizer.labels[index] for index in found.argmax(dim=-1).tolist()]
            probabilities = label_probabilities(self._task, verbalizer.labels, found)
            gold = torch.tensor([verbalizer.labels.index(example.targets[0]) for example in examples])
            log_losses = (-found.gather(1, gold[:, None])[:, 0]).tolist()
            tempered = tempered_log_losses(found, gold)
        return scored(
            self._task,
            examples,
            predictions,
            log_losses,
            started,
            probabilities=probabilities,
            tempered_log_losses=tempered,
        )

    def predict(self, prefix: PrefixState, examples: Sequence[Example]) -> list[Prediction]:
        """What the model answers to each of `examples`; their targets are not looked at."""
        rows = [self._renderer.row_ids(example) for example in examples]
        verbalizer = self._renderer.choices
        if verbalizer is None:
            return [Prediction(text) for text in self._generate(prefix, rows)]
        shares = self._label_log_probabilities(prefix, rows, verbalizer).exp().tolist()
        return [
            Prediction(verbalizer.labels[row.index(max(row))], dict(zip(verbalizer.labels, row, strict=True)))
            for row in shares
        ]

    def _generate(self, prefix: PrefixState, rows: Sequence[Sequence[int]]) -> list[str]:
        sampling = SamplingOptions(max_new_tokens=self._task.max_new_tokens, end_ids=self._renderer.end_ids)
        answers = self._model.generate(rows, prefix, sampling, batch_size=self._batch_size)
        return [self._renderer.decode(answer) for answer in answers]

    def _label_log_probabilities(
        self, prefix: PrefixState, rows: Sequence[Sequence[int]], verbalizer: Verbalizer
    ) -> torch.Tensor:
        """Log-probability (B, C) of each label among the labels."""
        scores = self._model.score(
            rows,
            prefix,
            verbalizer.choice_ids,
            normalizes_length=verbalizer.normalizes_length,
            batch_size=self._batch_size,
        )
        return scores.log_softmax(dim=-1)

    @torch.no_grad()
    def _answer_log_losses(
        self, prefix: PrefixState, rows: Sequence[Sequence[int]], examples: Sequence[Example]
    ) -> list[float]:
        answers = [self._renderer.answer_ids(example.targets[0]) for example in examples]
        whole = [
            TrainingRow((*row, *answer), tuple(range(len(row), len(row) + len(answer))))
            for row, answer in zip(rows, answers, strict=True)
        ]
        log_losses = [0.0] * len(rows)
        for indices in batches_by_length([len(row.ids) for row in whole], self._batch_size):
            losses = row_losses(self._model, prefix, [whole[index] for index in indices])
            by_row = torch.split(losses, [len(whole[index].label_positions) for index in indices])
            for index, row in zip(indices, by_row, strict=True):
                log_losses[index] = row.mean().item()
        return log_losses
