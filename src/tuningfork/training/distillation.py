"""Learning from a teacher: the prompt that was tuned for a task alone."""

from collections.abc import Sequence

import torch
from torch import Tensor

from tuningfork.models.frozen import FrozenModel
from tuningfork.models.prefix import PrefixState
from tuningfork.models.row_checks import Prefixes
from tuningfork.training.objectives import ScoredObjective
from tuningfork.types import TrainingRow

WEIGHT = 0.9


class DistillingObjective:
    """An objective plus `weight` times how far the answers are from those of a teacher.

    Source: Wang, Panda, Karlinsky, Feris, Sun, Kim 2023, "Multitask Prompt Tuning Enables Parameter-Efficient
    Transfer Learning", arXiv 2303.02861, section 3.2, equation 5: the Kullback-Leibler divergence of the
    student's output probabilities from the teacher's, with a weight of 0.9 (appendix A). The paper adds the
    squared difference of hidden states, which is left out here: prompts of other lengths and kinds are to be
    teachers, too, and probabilities are what they have in common.
    """

    def __init__(self, objective: ScoredObjective, teacher: PrefixState, weight: float = WEIGHT) -> None:
        """Learn `objective`, and to answer as behind `teacher`."""
        self._objective = objective
        self._teacher = teacher
        self._weight = weight
        self.num_labels = objective.num_labels

    def count(self, rows: Sequence[TrainingRow]) -> int:
        """What the objective counts."""
        return self._objective.count(rows)

    def losses(self, model: FrozenModel, prefix: Prefixes, rows: Sequence[TrainingRow]) -> Tensor:
        """The objective's losses (N,), each with the divergence of what is believed there."""
        with torch.no_grad():
            taught = self._objective.scores(model, self._teacher, rows).log_softmax(dim=-1)
        scores = self._objective.scores(model, prefix, rows)
        divergence = (taught.exp() * (taught - scores.log_softmax(dim=-1))).sum(dim=-1)
        return self._objective.losses_of(scores, rows) + self._weight * divergence
