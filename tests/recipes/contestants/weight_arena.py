"""Comparisons on tiny tasks, for the contestants that train weights and the classical ones."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NoReturn, overload

from tuningfork.data.example import Example
from tuningfork.data.splits import cross_validation_folds
from tuningfork.events import EventSink, NullSink
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.contestants.contestant import Arena
from tuningfork.recipes.preparation import prepare
from tuningfork.tasks.task import Task

OPTIONS = TuneOptions(max_steps=8, validate_every=2, checkpoint_every=2, batch_size=6, num_seeds=2)


class UnreadableRows(Sequence[Example]):
    """Rows that nobody may look at."""

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Example]: ...
    def __getitem__(self, index: int | slice) -> NoReturn:
        raise AssertionError("a test row was read")

    def __len__(self) -> NoReturn:
        raise AssertionError("test rows were counted")


def arena_of(
    model: FrozenModel,
    task: Task,
    options: TuneOptions = OPTIONS,
    *,
    is_divided_once: bool = False,
    sink: EventSink | None = None,
) -> Arena:
    """A comparison whose test rows nobody may look at; with folds, or with rows held out once."""
    if is_divided_once:
        options = options.model_copy(update={"refit": "no"})
    prepared = prepare(task, model, options, NullSink())
    return Arena(model, replace(prepared, test=UnreadableRows()), options, sink or NullSink())


def with_rows(arena: Arena, count: int) -> Arena:
    """The same with only the first `count` rows, in two folds."""
    rows = arena.prepared.rows[:count]
    folds = cross_validation_folds(rows, 2, seed=0)
    return replace(arena, prepared=replace(arena.prepared, rows=rows, folds=folds))
