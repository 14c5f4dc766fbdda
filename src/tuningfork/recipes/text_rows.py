"""The rows of a text search: training rows for the search, validation and test rows for nobody in it."""

from collections.abc import Sequence
from dataclasses import dataclass

from tuningfork.data.checks import check_examples
from tuningfork.data.example import Example
from tuningfork.data.hashing import hash_examples
from tuningfork.data.rows import describe_place
from tuningfork.data.splits import split_examples
from tuningfork.data.store import load_examples
from tuningfork.errors import DataError
from tuningfork.events import EventSink, Notice
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.preparation import prepare
from tuningfork.recipes.task_file import columns_of
from tuningfork.tasks.task import Task
from tuningfork.tuning.text.training_rows import MOST_ROWS


@dataclass(frozen=True, slots=True)
class TextRows:
    """A task's rows, divided once; the same rows and seed give the same parts."""

    train: Sequence[Example]
    """What a search sees."""
    validation: Sequence[Example]
    """What the prompt is chosen by."""
    test: Sequence[Example]
    """What the verdict rests on."""
    data_hash: str
    """Of `train` and `validation` together, as of a run."""
    test_hash: str
    room: int | None = None
    """Tokens that a prompt may have so that every row fits behind it; None if no limit is known."""


def local_rows(task: Task, model: FrozenModel, options: TuneOptions, sink: EventSink) -> TextRows:
    """Rows checked as for `tune`, down to whether they fit `model`.

    Raises:
        DataError: The data cannot be used.
        ContextLengthError: A row does not fit and `options.skip_bad_rows` is off.
    """
    prepared = prepare(task, model, options.model_copy(update={"refit": "no"}), sink)
    fold = prepared.folds[0]
    return TextRows(
        train=fold.train[:MOST_ROWS],
        validation=fold.validation,
        test=prepared.test,
        data_hash=prepared.data_hash,
        test_hash=prepared.test_hash,
        room=prepared.room,
    )


def remote_rows(task: Task, options: TuneOptions, sink: EventSink) -> TextRows:
    """Rows for a model behind an address, of which no lengths in tokens are known.

    Raises:
        DataError: The data cannot be used.
    """
    examples = _loaded(task, task.data.train, options, sink, is_test=False)
    own_test = None
    if task.data.test is not None:
        own_test = _loaded(task, task.data.test, options, sink, is_test=True)
    splits = split_examples(examples, seed=options.seed, test=own_test)
    if splits.left_out:
        sink.emit(Notice(f"Left out  {splits.left_out} training rows whose input is also in the test set"))
    sink.emit(
        Notice(
            f"Data      {len(splits.train)} train / {len(splits.validation)} validation / "
            f"{len(splits.test)} test"
        )
    )
    return TextRows(
        train=splits.train[:MOST_ROWS],
        validation=splits.validation,
        test=splits.test,
        data_hash=hash_examples(splits.development),
        test_hash=hash_examples(splits.test),
    )


def _loaded(
    task: Task, source: str, options: TuneOptions, sink: EventSink, *, is_test: bool
) -> Sequence[Example]:
    loaded = load_examples(
        source,
        columns_of(task),
        limit=options.limit,
        skip_bad_rows=options.skip_bad_rows,
        split=None if is_test else options.split,
    )
    for line in loaded.bad_rows:
        sink.emit(Notice(f"Skipped   {line}"))
    examples = list(loaded.examples)
    if task.labels is not None:
        unknown = [row for row in examples if row.targets and row.targets[0] not in task.labels]
        if unknown and not options.skip_bad_rows:
            first = unknown[0]
            raise DataError(
                f"{describe_place(first.source)}: {first.targets[0]!r} is not a label of task {task.name} "
                f"({', '.join(task.labels)}); correct the row, or add the label to the task file"
            )
        for row in unknown:
            sink.emit(Notice(f"Skipped   {describe_place(row.source)}: {row.targets[0]!r} is not a label"))
        examples = [row for row in examples if not row.targets or row.targets[0] in task.labels]
    report = check_examples(examples, minimum_rows=1 if is_test else 8, needs_several_targets=not is_test)
    for line in report.lines():
        sink.emit(Notice(f"Check     {line}"))
    return report.examples
