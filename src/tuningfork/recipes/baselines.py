"""Prompts that need no training: demonstrations chosen on validation."""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from tuningfork.data.example import Example
from tuningfork.evaluation.evaluate import Evaluation, Evaluator
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.preparation import Prepared
from tuningfork.training.checkpoint import Validation
from tuningfork.training.loop import selection_score

_NUM_DEMONSTRATIONS = (2, 4, 8, 12)
_POOL = 500
"""Demonstrations are drawn from this many rows at most, so that a data set on disk stays there."""


@dataclass(frozen=True, slots=True)
class FewShot:
    """Demonstrations in front of the input."""

    num_demonstrations: int
    prefix_ids: list[int]
    stored_bytes: int


def as_validation(evaluation: Evaluation) -> Validation:
    """What selection needs of an evaluation on the validation split."""
    return Validation(evaluation.mean_score, evaluation.mean_log_loss, len(evaluation.scores))


def choose_few_shot(
    prepared: Prepared, model: FrozenModel, evaluator: Evaluator, *, seed: int
) -> FewShot | None:
    """The best number of demonstrations on validation; None if not even the fewest fit the model."""
    ordered = _spread(prepared.train, seed)
    longest = max(
        len(prepared.renderer.row_ids(example)) for example in (*prepared.validation, *prepared.test)
    )
    answer = prepared.task.max_new_tokens
    best: tuple[float, FewShot] | None = None
    for count in _NUM_DEMONSTRATIONS:
        if count > len(ordered):
            break
        ids = prepared.renderer.few_shot_prefix_ids(ordered[:count])
        if model.maximum_length is not None and len(ids) + longest + answer > model.maximum_length:
            break
        evaluation = evaluator.evaluate(model.prefix([ids]), prepared.validation)
        score = selection_score(as_validation(evaluation), higher_is_better=evaluator.metric.higher_is_better)
        if best is None or score > best[0]:
            stored = len(str(model.tokenizer.decode(ids)).encode())
            best = (score, FewShot(count, ids, stored))
    return None if best is None else best[1]


def _spread(examples: Sequence[Example], seed: int) -> list[Example]:
    """Some of the examples in a seeded order that takes one of each target in turn."""
    generator = random.Random(seed)
    positions = generator.sample(range(len(examples)), min(len(examples), _POOL))
    shuffled = [examples[position] for position in positions]
    by_target: dict[str, list[Example]] = defaultdict(list)
    for example in shuffled:
        by_target[example.targets[0]].append(example)
    spread: list[Example] = []
    for depth in range(len(shuffled)):
        spread.extend(group[depth] for group in by_target.values() if depth < len(group))
    return spread
