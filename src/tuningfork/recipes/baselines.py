"""Prompts that need no training: demonstrations chosen on validation."""

import math
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tuningfork.data.example import Example
from tuningfork.evaluation.evaluate import Evaluator
from tuningfork.events import EventSink, NullSink, StageAdvanced, StageFinished, StageStarted
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.preparation import Prepared
from tuningfork.recipes.spending import Budget
from tuningfork.training.checkpoint import Validation, pooled
from tuningfork.training.loop import selection_score

_NUM_DEMONSTRATIONS = (2, 4, 8, 12)
_STAGE = "choose demonstrations"
_POOL = 500
"""Demonstrations are drawn from this many rows at most, so that a data set on disk stays there."""


@dataclass(frozen=True, slots=True)
class FewShot:
    """Demonstrations in front of the input."""

    num_demonstrations: int
    prefix_ids: list[int]
    stored_bytes: int
    validation: Validation
    """What held-out rows said of so many; with folds, each fold showed its own rows."""
    num_candidates: int = 1
    """How many numbers of demonstrations fit."""
    num_cut_short: int = 0
    """How many of these were not tried, because time was up."""


def choose_few_shot(
    prepared: Prepared,
    model: FrozenModel,
    evaluator: Evaluator,
    *,
    seed: int,
    sink: EventSink | None = None,
    budget: Budget | None = None,
) -> FewShot | None:
    """The best number of demonstrations on held-out rows; None if not even the fewest fit the model.

    An encoder fills the one gap of one text: it is shown none. Once `budget` is spent no further number is
    tried.
    """
    if model.architecture == "encoder":
        return None
    pools, generates = _pools(prepared, seed), not prepared.is_cross_validated
    report, time_left = sink or NullSink(), budget or Budget(None)
    fitting = [
        (count, prefixes)
        for count in _NUM_DEMONSTRATIONS
        if (prefixes := _prefixes(prepared, pools, count)) is not None
    ]
    best: tuple[float, FewShot] | None = None
    num_tried, started = 0, time.perf_counter()
    report.emit(StageStarted(_STAGE, len(fitting), "numbers of rows"))
    for count, prefixes in fitting:
        if best is not None and time_left.is_spent():
            break
        found = [
            evaluator.validate(model.prefix([ids]), fold.validation, generates=generates)
            for ids, fold in zip(prefixes, prepared.folds, strict=False)
        ]
        validation = pooled(found)
        score = selection_score(validation, higher_is_better=evaluator.metric.higher_is_better)
        if best is None or score > best[0]:
            ids = prefixes[-1]
            stored = len(str(model.tokenizer.decode(ids)).encode())
            best = (score, FewShot(count, ids, stored, validation))
        num_tried += 1
        report.emit(StageAdvanced(_STAGE, num_tried))
    report.emit(StageFinished(_STAGE, time.perf_counter() - started))
    if best is None:
        return None
    return replace(best[1], num_candidates=len(fitting), num_cut_short=len(fitting) - num_tried)


def fits_few_shot(prepared: Prepared, *, seed: int) -> bool:
    """Whether there are, and the model has room for, the fewest demonstrations that are tried."""
    return _prefixes(prepared, _pools(prepared, seed), _NUM_DEMONSTRATIONS[0]) is not None


def _pools(prepared: Prepared, seed: int) -> list[list[Example]]:
    """What each fold may show, in order, and last what the prompt itself may."""
    pools = [_spread(fold.train, seed) for fold in prepared.folds]
    return [*pools, _spread(prepared.rows, seed) if prepared.is_cross_validated else pools[0]]


def _prefixes(prepared: Prepared, pools: Sequence[Sequence[Example]], count: int) -> list[list[int]] | None:
    """The tokens of a prompt with `count` demonstrations from each pool; None if one does not fit."""
    prefixes = [prepared.renderer.few_shot_prefix_ids(pool[:count]) for pool in pools]
    room = math.inf if prepared.room is None else prepared.room
    fits = count <= min(map(len, pools)) and max(map(len, prefixes)) <= room
    return prefixes if fits else None


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
