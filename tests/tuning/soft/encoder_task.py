"""A task that a tiny encoder learns in a second: the first word decides which of three labels is right."""

from collections.abc import Sequence
from typing import Any

from tests.models.encoder_reference import words
from tests.tiny_models import CLS, MASK, SEP
from tuningfork.models.frozen import FrozenModel
from tuningfork.training.arguments import TrainingArguments
from tuningfork.training.loop import Candidate
from tuningfork.training.objectives import ChoiceObjective
from tuningfork.tuning.soft.defaults import LEARNING_RATES
from tuningfork.tuning.soft.method import SoftMethod
from tuningfork.types import TrainingRow

LABELS = ((10,), (20, 21), (30,))
TEXT = [40, 17, 63, 8, 29]
OBJECTIVE = ChoiceObjective(LABELS, normalizes_length=False)


def encoder_rows(count: int, *, seed: int = 0) -> list[TrainingRow]:
    """Rows [CLS] words [MASK] [SEP] and the label that the first word asks for."""
    rows = []
    for index in range(count):
        said = words(2 + index % 6, seed=1000 * seed + index)
        choice = said[0] % len(LABELS)
        inputs, answer = (CLS, *said, MASK, SEP), LABELS[choice]
        ids = (*inputs, *answer)
        rows.append(TrainingRow(ids, tuple(range(len(inputs), len(ids))), choice))
    return rows


TRAINSET = encoder_rows(12)


def encoder_candidate(
    model: FrozenModel, method: SoftMethod, embeddings_of: Sequence[int] = TEXT, **arguments: Any
) -> Candidate:
    """A candidate that starts from `TEXT` and is checkpointed often."""
    settings = {
        "learning_rate": min(0.1, max(LEARNING_RATES[method.name])),
        "max_steps": 14,
        "batch_size": 5,
        "micro_batch_size": 3,
        "validate_every": 2,
        "checkpoint_every": 3,
        "seed": 7,
    }
    return Candidate(
        name=f"encoder-{method.name}",
        method=method,
        embeddings=model.embed(embeddings_of).float(),
        arguments=TrainingArguments(**{**settings, **arguments}),
        objective=OBJECTIVE,
    )
