"""Some of the examples of a task, for learning curves."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from tuningfork.data.example import Example
from tuningfork.data.splits import split_examples
from tuningfork.library.run_records import TuneOptions
from tuningfork.recipes.preparation import Prepared, divided


def subset(prepared: Prepared, num_rows: int, options: TuneOptions) -> Prepared:
    """The same task with `num_rows` of its rows, divided anew to choose settings; test rows stay.

    Subsets are nested: a smaller one lies in every larger one. Each holds the targets in the proportions of
    all rows, as far as its size allows.

    Raises:
        DataError: if these rows cannot be divided.
    """
    rows = _in_order(prepared.rows, options.seed)[:num_rows]
    splits = split_examples(rows, seed=options.seed, test=prepared.test)
    return replace(divided(prepared.task, prepared.renderer, splits, options), room=prepared.room)


def _in_order(examples: Sequence[Example], seed: int) -> list[Example]:
    """All examples in a seeded order any beginning of which holds each target in its share of all.

    The k-th of n rows with a target stands at (k - 1/2) / n of the way.
    """
    drawn = Random(seed).sample(range(len(examples)), len(examples))
    by_target: dict[str, list[int]] = {}
    for position in drawn:
        by_target.setdefault(_target(examples[position]), []).append(position)
    at = {
        position: ((number + 0.5) / len(group))
        for group in by_target.values()
        for number, position in enumerate(group)
    }
    return [examples[position] for position in sorted(drawn, key=at.__getitem__)]


def _target(example: Example) -> str:
    return example.targets[0] if example.targets else ""
