"""What was trained, as it is judged and as it answers."""

from collections.abc import Sequence

import torch

from tuningfork.data.example import Example
from tuningfork.evaluation.evaluate import Evaluator
from tuningfork.evaluation.tagging import evaluator_for
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.prefix import PrefixState
from tuningfork.recipes.contestants.contestant import Answer
from tuningfork.recipes.preparation import Prepared
from tuningfork.tasks.rendering import RowRenderer
from tuningfork.training.loop import TrainingOutcome, Validate


def judge_of(
    model: FrozenModel, prepared: Prepared, renderer: RowRenderer, held_out: Sequence[Example]
) -> Validate:
    """What held-out rows say of a prompt, to choose by."""
    # Few rows are judged by their log-loss alone, which needs no answers to be generated.
    generates = not prepared.is_cross_validated
    evaluator = evaluator_for(model, prepared.task, renderer)
    return lambda prefix: evaluator.validate(prefix, held_out, generates=generates)


@torch.no_grad()
def prefix_of(model: FrozenModel, outcome: TrainingOutcome) -> PrefixState:
    """What a training ended in, read by the model."""
    return model.prefix([outcome.prompt])


def answer_of(model: FrozenModel, evaluator: Evaluator, outcome: TrainingOutcome) -> Answer:
    """Answers rows with what a training ended in."""
    # Each prefix is computed when it is used: of long prompts it is large.
    return lambda examples: evaluator.evaluate(prefix_of(model, outcome), examples)
