from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.recipes.conftest import RecordingSink
from tuningfork.data.example import Example
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.preparation import Prepared, prepare
from tuningfork.recipes.subsets import _in_order, subset
from tuningfork.tasks.task import Task


@pytest.fixture
def prepared(tasks: dict[str, Task], model: FrozenModel, sink: RecordingSink) -> Prepared:
    return prepare(tasks["classification"], model, TuneOptions(), sink)


def sources(examples: object) -> list[str]:
    return [example.source for example in examples]  # type: ignore[attr-defined]


def test_smaller_subsets_lie_in_larger_ones_and_test_rows_stay(prepared: Prepared) -> None:
    options = TuneOptions()
    held: set[str] = set()
    for size in (4, 8, 12):
        some = subset(prepared, size, options)
        found = set(sources(some.rows))
        assert len(some.rows) == len(found) == size
        assert held < found < set(sources(prepared.rows))
        assert sources(some.test) == sources(prepared.test)
        assert some.room == prepared.room
        held = found


def test_folds_are_made_of_the_subset_alone(prepared: Prepared) -> None:
    some = subset(prepared, 8, TuneOptions())
    assert some.is_cross_validated
    for fold in some.folds:
        assert sorted([*sources(fold.train), *sources(fold.validation)]) == sorted(sources(some.rows))
    whole = subset(prepared, 8, TuneOptions(refit="no"))
    (fold,) = whole.folds
    assert sorted([*sources(fold.train), *sources(fold.validation)]) == sorted(sources(some.rows))


def test_the_seed_draws_the_rows(prepared: Prepared) -> None:
    drawn = [sources(subset(prepared, 8, TuneOptions(seed=seed)).rows) for seed in (0, 0, 1)]
    assert sorted(drawn[0]) == sorted(drawn[1])
    assert sorted(drawn[0]) != sorted(drawn[2])


@given(counts=st.lists(st.integers(1, 30), min_size=1, max_size=5), seed=st.integers(0, 9))
def test_any_beginning_holds_each_target_in_its_share(counts: list[int], seed: int) -> None:
    examples = [
        Example(inputs={"text": f"{label} {number}"}, targets=(str(label),))
        for label, count in enumerate(counts)
        for number in range(count)
    ]
    ordered = _in_order(examples, seed)
    assert Counter(map(id, ordered)) == Counter(map(id, examples))
    for size in range(1, len(ordered) + 1):
        held = Counter(example.targets[0] for example in ordered[:size])
        for label, count in enumerate(counts):
            assert abs(held[str(label)] - size * count / len(examples)) <= len(counts)


def test_balanced_targets_come_in_turn(prepared: Prepared) -> None:
    for size in (4, 8, 12):
        counts = Counter(example.targets[0] for example in subset(prepared, size, TuneOptions()).rows)
        assert max(counts.values()) - min(counts.values()) <= 1


def test_rows_without_targets_to_share_are_drawn_alike(prepared: Prepared) -> None:
    bare = [replace(example, targets=()) for example in prepared.rows]
    assert sorted(sources(_in_order(bare, 0))) == sorted(sources(bare))
