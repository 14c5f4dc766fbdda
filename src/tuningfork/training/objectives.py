"""What a training minimises."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tuningfork.models.frozen import FrozenModel
from tuningfork.models.row_checks import Prefixes
from tuningfork.types import TokenIds, TrainingRow


class Objective(Protocol):
    """A loss that is a mean over counted things, so that micro-batches add up to the batch exactly."""

    @property
    def num_labels(self) -> int | None:
        """How many labels it tells apart; None if it learns to say tokens."""

    def count(self, rows: Sequence[TrainingRow]) -> int:
        """How many losses `losses` gives for `rows`."""

    def losses(self, model: FrozenModel, prefix: Prefixes, rows: Sequence[TrainingRow]) -> Tensor:
        """One loss (N,) in nats for each counted thing, in the order of `rows`."""


class ScoredObjective(Objective, Protocol):
    """An objective whose losses are those of scores among which one is right."""

    def scores(self, model: FrozenModel, prefix: Prefixes, rows: Sequence[TrainingRow]) -> Tensor:
        """Scores (N, C), a row of them for each counted thing; their softmax is what the model believes."""

    def losses_of(self, scores: Tensor, rows: Sequence[TrainingRow]) -> Tensor:
        """The losses (N,) of `scores` (N, C) of `rows`."""


def row_losses(model: FrozenModel, prefix: Prefixes, rows: Sequence[TrainingRow]) -> Tensor:
    """Cross-entropy (N,) of every label token of `rows`, in order; no other logits are computed."""
    objective = TokenObjective()
    return objective.losses_of(objective.scores(model, prefix, rows), rows)


class TokenObjective:
    """Cross-entropy of every label token over the whole vocabulary: learns to say the answer."""

    num_labels = None

    def count(self, rows: Sequence[TrainingRow]) -> int:
        """The label tokens of `rows`."""
        return sum(len(row.label_positions) for row in rows)

    def losses(self, model: FrozenModel, prefix: Prefixes, rows: Sequence[TrainingRow]) -> Tensor:
        """Cross-entropy (N,) of every label token of `rows`, in order."""
        return row_losses(model, prefix, rows)

    def scores(self, model: FrozenModel, prefix: Prefixes, rows: Sequence[TrainingRow]) -> Tensor:
        """Logits (N, V) that predict every label token of `rows`, in order."""
        inputs = [row.ids[: row.label_positions[-1]] for row in rows]
        return model.logits(inputs, prefix, [[p - 1 for p in row.label_positions] for row in rows])

    def losses_of(self, scores: Tensor, rows: Sequence[TrainingRow]) -> Tensor:
        """Cross-entropy (N,) of the label tokens by `scores` (N, V)."""
        targets = [row.ids[p] for row in rows for p in row.label_positions]
        return cross_entropy(scores, torch.tensor(targets, device=scores.device), reduction="none")


class ChoiceObjective:
    """Cross-entropy of the right label among the labels: learns to tell them apart.

    It is the log-loss that validation and test report. Saying a label well, which the model's own text prompt
    may already do, earns nothing here; telling labels apart does, so few examples go further. Label smoothing
    (Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer Vision", arXiv 1512.00567,
    section 7) keeps a prompt that has learned its few rows by heart from being sure of everything.
    """

    def __init__(
        self, choices: Sequence[TokenIds], *, normalizes_length: bool, label_smoothing: float = 0.0
    ) -> None:
        """Tell `choices` apart; `label_smoothing` in [0, 1) is the share given to all labels alike."""
        self._label_smoothing = label_smoothing
        self._choices = [tuple(choice) for choice in choices]
        self._normalizes_length = normalizes_length

    @property
    def num_labels(self) -> int:
        """C, also where some label is missing among the rows."""
        return len(self._choices)

    def count(self, rows: Sequence[TrainingRow]) -> int:
        """One loss a row."""
        return len(rows)

    def losses(self, model: FrozenModel, prefix: Prefixes, rows: Sequence[TrainingRow]) -> Tensor:
        """Cross-entropy (B,) of each row's label among the labels.

        Raises:
            ValueError: if a row has no choice, or does not end in it.
        """
        return self.losses_of(self.scores(model, prefix, rows), rows)

    def scores(self, model: FrozenModel, prefix: Prefixes, rows: Sequence[TrainingRow]) -> Tensor:
        """Log-probability (B, C) of each label behind each row.

        Raises:
            ValueError: if a row has no choice, or does not end in it.
        """
        inputs = [self._input_of(row, index) for row, index in zip(rows, _right(rows), strict=True)]
        return model.choice_log_probabilities(
            inputs, prefix, self._choices, normalizes_length=self._normalizes_length
        )

    def losses_of(self, scores: Tensor, rows: Sequence[TrainingRow]) -> Tensor:
        """Cross-entropy (B,) of each row's label by `scores` (B, C)."""
        return cross_entropy(
            scores,
            torch.tensor(_right(rows), device=scores.device),
            reduction="none",
            label_smoothing=self._label_smoothing,
        )

    def _input_of(self, row: TrainingRow, index: int) -> TokenIds:
        choice = self._choices[index]
        if row.ids[-len(choice) :] != choice:
            raise ValueError(f"a row of choice {index} must end in {choice}, found {row.ids[-len(choice) :]}")
        return row.ids[: -len(choice)]


class TagObjective:
    """Cross-entropy of the right tag of every word among the tags, read by the head of a prompt.

    The loss is the mean over words, so that a long row counts for more than a short one. Devlin, Chang, Lee,
    Toutanova 2019, "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding", arXiv
    1810.04805, section 5.3, classify the state of the first token of each word so; on a decoder it is the
    last, the only one that has seen the whole word.
    """

    def __init__(self, num_tags: int, *, label_smoothing: float = 0.0) -> None:
        """Tell so many tags apart; `label_smoothing` in [0, 1) is the share given to all tags alike."""
        self._num_tags = num_tags
        self._label_smoothing = label_smoothing

    @property
    def num_labels(self) -> int:
        """C, also where some tag is missing among the rows."""
        return self._num_tags

    def count(self, rows: Sequence[TrainingRow]) -> int:
        """The words of `rows`."""
        return sum(len(row.tags) for row in rows)

    def losses(self, model: FrozenModel, prefix: Prefixes, rows: Sequence[TrainingRow]) -> Tensor:
        """Cross-entropy (N,) of the tag of every word of `rows`, in order."""
        return self.losses_of(self.scores(model, prefix, rows), rows)

    def scores(self, model: FrozenModel, prefix: Prefixes, rows: Sequence[TrainingRow]) -> Tensor:
        """Log-probability (N, C) of each tag for every word of `rows`, in order."""
        return model.word_log_probabilities(
            [row.ids for row in rows], prefix, [row.word_positions for row in rows]
        )

    def losses_of(self, scores: Tensor, rows: Sequence[TrainingRow]) -> Tensor:
        """Cross-entropy (N,) of the tag of every word by `scores` (N, C)."""
        right = torch.tensor([tag for row in rows for tag in row.tags], device=scores.device)
        return cross_entropy(scores, right, reduction="none", label_smoothing=self._label_smoothing)


def _right(rows: Sequence[TrainingRow]) -> list[int]:
    right = [row.choice for row in rows if row.choice is not None]
    if len(right) != len(rows):
        raise ValueError("every row needs its choice to be told apart from the others")
    return right
