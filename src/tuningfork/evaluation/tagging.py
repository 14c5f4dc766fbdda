"""Tags of words, as the heads of prompts read them: scores over a split, and predictions."""

import time
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from tuningfork.data.example import Example
from tuningfork.evaluation.ensemble import Ensemble, Member, mean_log_probabilities
from tuningfork.evaluation.evaluate import Evaluation, Evaluator, Prediction, TaggedWord, scored
from tuningfork.models.batch import batches_by_length
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.path import SamplingOptions
from tuningfork.models.prefix import PrefixState
from tuningfork.tasks.rendering import RowRenderer
from tuningfork.tasks.tagging import TagRenderer, words_of
from tuningfork.tasks.task import Task
from tuningfork.training.checkpoint import Validation
from tuningfork.types import Combine


class TagEvaluator(Evaluator):
    """Runs prompts with heads of one task that tags words: predicts, and scores against references."""

    _renderer: TagRenderer

    def validate(
        self, prefix: PrefixState, examples: Sequence[Example], *, generates: bool = True
    ) -> Validation:
        """What selection needs of an evaluation; unless it `generates`, of few rows, the log-loss alone."""
        return _validation(self.evaluate(prefix, examples), generates=generates)

    def evaluate(self, prefix: PrefixState, examples: Sequence[Example]) -> Evaluation:
        """Score the prompt behind `prefix` on `examples`, each with a tag for every word."""
        started = time.perf_counter()
        scores = self._scores(prefix, examples)
        return _evaluation(
            scores, scores.argmax(dim=-1).tolist(), examples, self._renderer, self._task, started
        )

    def predict(self, prefix: PrefixState, examples: Sequence[Example]) -> list[Prediction]:
        """The tags of the words of each of `examples`; their targets are not looked at."""
        scores = self._scores(prefix, examples)
        return _predictions(scores, scores.argmax(dim=-1).tolist(), examples, self._renderer.tags)

    def _scores(self, prefix: PrefixState, examples: Sequence[Example]) -> Tensor:
        return tag_log_probabilities(
            self._model, prefix, self._renderer, examples, batch_size=self._batch_size
        )


class TagEnsemble(Ensemble):
    """Prompts with heads that tag the words of each row together, as an `Ensemble` takes labels.

    For each word `mean` takes the tag with the highest mean probability, `vote` the one that most members
    take.
    """

    def evaluate(self, examples: Sequence[Example]) -> Evaluation:
        """Score the ensemble on `examples`; the log-loss is that of the mean probability, per word."""
        started = time.perf_counter()
        scores = self._scores(examples)
        mean, chosen = mean_log_probabilities(scores), self._choose_labels(scores)
        return _evaluation(mean, chosen, examples, self._first_renderer, self._task, started)

    def validate(self, examples: Sequence[Example], *, generates: bool = True) -> Validation:
        """What selection needs of an evaluation; unless it `generates`, of few rows, the log-loss alone."""
        return _validation(self.evaluate(examples), generates=generates)

    def predict(
        self, examples: Sequence[Example], *, sampling: SamplingOptions | None = None
    ) -> list[Prediction]:
        """What the members answer together, with their mean probabilities, whoever decides; not sampled."""
        scores = self._scores(examples)
        chosen = self._choose_labels(scores)
        return _predictions(mean_log_probabilities(scores), chosen, examples, self._first_renderer.tags)

    @property
    def _first_renderer(self) -> TagRenderer:
        """What orders the tags."""
        return cast(TagRenderer, self._members[0].renderer)

    def _scores(self, examples: Sequence[Example]) -> Tensor:
        """Log-probability (K, N, C) of each tag of each word, by each member, each alone."""
        scores = []
        for member in self._members:
            renderer = cast(TagRenderer, member.renderer)
            found = tag_log_probabilities(
                self._model, member.prefix, renderer, examples, batch_size=self._batch_size
            )
            scores.append(found[:, [renderer.tags.index(tag) for tag in self._first_renderer.tags]])
        return torch.stack(scores)


def evaluator_for(model: FrozenModel, task: Task, renderer: RowRenderer) -> Evaluator:
    """What runs prompts of `task`."""
    return (TagEvaluator if task.has_tags else Evaluator)(model, task, renderer)


def ensemble_for(
    model: FrozenModel, task: Task, members: Sequence[Member], *, combine: Combine | None = None
) -> Ensemble:
    """What has `members` answer each row of `task` together.

    Raises:
        PromptError: if they cannot.
    """
    return (TagEnsemble if task.has_tags else Ensemble)(model, task, members, combine=combine)


@torch.no_grad()
def tag_log_probabilities(
    model: FrozenModel,
    prefix: PrefixState,
    renderer: TagRenderer,
    examples: Sequence[Example],
    *,
    batch_size: int,
) -> Tensor:
    """Log-probability (N, C) of each tag of each word, row after row, on the CPU.

    Raises:
        PromptError: if the prompt has no head, or one for another number of tags.
    """
    rows = [renderer.word_row(example) for example in examples]
    by_row: list[Tensor] = [torch.empty(0)] * len(rows)
    for indices in batches_by_length([len(row.ids) for row in rows], batch_size):
        at = [rows[index].word_positions for index in indices]
        found = model.word_log_probabilities([rows[index].ids for index in indices], prefix, at)
        of_rows = torch.split(found.cpu(), [len(places) for places in at])
        for index, scores in zip(indices, of_rows, strict=True):
            by_row[index] = scores
    return torch.cat(by_row)


def _validation(found: Evaluation, *, generates: bool) -> Validation:
    # A metric that rows weigh in differently is no mean of those of folds.
    return Validation(found.mean_score if generates else None, found.mean_log_loss, len(found.scores))


def _evaluation(
    scores: Tensor,
    chosen: Sequence[int],
    examples: Sequence[Example],
    renderer: TagRenderer,
    task: Task,
    started: float,
) -> Evaluation:
    """What `chosen` tags (N,) and log-probabilities (N, C) of all are worth; the log-loss is per word."""
    counts = [len(words_of(example)) for example in examples]
    gold = torch.tensor([tag for example in examples for tag in renderer.tag_indices(example)])
    losses = torch.split(-scores.gather(1, gold[:, None])[:, 0], counts)
    said = torch.split(torch.tensor(list(chosen)), counts)
    predictions = [" ".join(renderer.tags[index] for index in row.tolist()) for row in said]
    return scored(task, examples, predictions, [row.mean().item() for row in losses], started)


def _predictions(
    scores: Tensor, chosen: Sequence[int], examples: Sequence[Example], tags: Sequence[str]
) -> list[Prediction]:
    """Each row's words with their `chosen` tags (N,), and the probabilities of all of `tags`."""
    shares, predictions, start = scores.exp().tolist(), [], 0
    for example in examples:
        words = words_of(example)
        end = start + len(words)
        tagged = tuple(
            TaggedWord(word, tags[tag], dict(zip(tags, share, strict=True)))
            for word, tag, share in zip(words, chosen[start:end], shares[start:end], strict=True)
        )
        predictions.append(Prediction(" ".join(word.tag for word in tagged), tagged=tagged))
        start = end
    return predictions
