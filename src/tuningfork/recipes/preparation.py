"""Everything before the first optimizer step: read, check, split, render, measure lengths."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import overload

from tuningfork.data.checks import check_examples, find_leaks
from tuningfork.data.example import Example
from tuningfork.data.hashing import hash_examples
from tuningfork.data.rows import describe_place
from tuningfork.data.splits import Fold, Splits, cross_validation_folds, split_examples
from tuningfork.data.store import load_examples
from tuningfork.data.views import ExampleView
from tuningfork.errors import DataError
from tuningfork.events import EventSink, Notice
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.arrangement import placements_of, row_format
from tuningfork.recipes.task_file import columns_of
from tuningfork.tasks.rendering import RowRenderer
from tuningfork.tasks.tagging import TagRenderer, renderer_for
from tuningfork.tasks.task import Task
from tuningfork.tuning.soft.defaults import NUM_PLACED_TOKENS, Placement
from tuningfork.types import TrainingRow

FEW_ROWS = 50
"""Below this many rows settings are chosen by cross-validation, and then all rows are trained on."""

_NO_LIMIT = 2**31
_MOST_REPORTED = 10


@dataclass(frozen=True, slots=True)
class Prepared:
    """A task's data, ready for one model."""

    task: Task
    renderer: RowRenderer
    rows: Sequence[Example]
    """All that are not for testing."""
    folds: Sequence[Fold]
    """How `rows` are divided to choose settings: once, or by cross-validation where they are few."""
    test: Sequence[Example]
    data_hash: str
    """Of `rows`."""
    test_hash: str
    room: int | None = None
    """Tokens that a prompt may have so that every row fits behind it, with its answer; None if no limit."""

    @property
    def is_cross_validated(self) -> bool:
        """Whether every one of `rows` is held out in some fold."""
        return len(self.folds) > 1

    @property
    def validation(self) -> Sequence[Example]:
        """The rows that are held out in some fold, each once."""
        return self.rows if self.is_cross_validated else self.folds[0].validation


class RenderedRows(Sequence[TrainingRow]):
    """The training rows of examples, each rendered when it is asked for: examples on disk stay there."""

    def __init__(self, renderer: RowRenderer, examples: Sequence[Example]) -> None:
        self._renderer = renderer
        self._examples = examples

    def __len__(self) -> int:
        return len(self._examples)

    @overload
    def __getitem__(self, index: int) -> TrainingRow: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[TrainingRow]: ...
    def __getitem__(self, index: int | slice) -> TrainingRow | Sequence[TrainingRow]:
        if isinstance(index, slice):
            return RenderedRows(self._renderer, self._examples[index])
        example = self._examples[index]
        row = self._renderer.training_row(example)
        if self._renderer.choices is None:
            return row
        return replace(row, choice=self._renderer.choices.labels.index(example.targets[0]))


def prepare(task: Task, model: FrozenModel, options: TuneOptions, sink: EventSink) -> Prepared:
    """Read and check the data of `task`, split it, and make sure that it fits `model`.

    Raises:
        DataError: if the data cannot be used.
        ContextLengthError: if a row does not fit and `options.skip_bad_rows` is off.
    """
    renderer = renderer_for(task, model.tokenizer, **row_format(model))
    length = _RowLength(renderer, task, options, model.maximum_length or _NO_LIMIT)
    examples = _checked(task.data.train, length, renderer, model, task, options, sink)
    own_test: Sequence[Example] | None = None
    if task.data.test is not None:
        own_test = _checked(task.data.test, length, renderer, model, task, options, sink, is_test=True)
        _report_leaks(examples, own_test, sink)
    splits = split_examples(examples, seed=options.seed, test=own_test)
    if splits.left_out:
        sink.emit(Notice(f"Left out  {splits.left_out} training rows whose input is also in the test set"))
    prepared = divided(task, renderer, splits, options)
    if model.maximum_length is not None:
        prepared = replace(prepared, room=model.maximum_length - length.longest_behind)
    _report_boundaries(renderer, prepared.rows, sink)
    origin = f"from {task.data.test}" if own_test is not None else f"held out by seed {options.seed}"
    sink.emit(Notice(f"Data      {_sizes(prepared)} / {len(prepared.test)} test (test {origin})"))
    return prepared


def divided(task: Task, renderer: RowRenderer, splits: Splits, options: TuneOptions) -> Prepared:
    """`splits` as a search needs them: few rows are all trained on, and judged by cross-validation."""
    rows, folds = splits.development, [Fold(splits.train, splits.validation)]
    if options.refit != "no" and len(rows) < FEW_ROWS:
        folds = cross_validation_folds(
            rows, options.num_folds, seed=options.seed, num_repeats=options.num_repeats
        )
    return Prepared(
        task=task,
        renderer=renderer,
        rows=rows,
        folds=folds,
        test=splits.test,
        data_hash=hash_examples(rows),
        test_hash=hash_examples(splits.test),
    )


def _sizes(prepared: Prepared) -> str:
    if prepared.is_cross_validated:
        return f"{len(prepared.rows)} train, in {len(prepared.folds)} folds to choose settings"
    fold = prepared.folds[0]
    return f"{len(fold.train)} train / {len(fold.validation)} validation"


def _checked(
    source: str,
    length: "_RowLength",
    renderer: RowRenderer,
    model: FrozenModel,
    task: Task,
    options: TuneOptions,
    sink: EventSink,
    *,
    is_test: bool = False,
) -> Sequence[Example]:
    """The usable examples of `source`; what was found wrong is told before anything is trained."""
    loaded = load_examples(
        source,
        columns_of(task),
        limit=options.limit,
        skip_bad_rows=options.skip_bad_rows,
        split=None if is_test else options.split,
    )
    _report_skipped(loaded.bad_rows, loaded.bad_row_count, sink)
    if isinstance(renderer, TagRenderer):
        examples = _with_known_tags(loaded.examples, renderer, options, sink)
    else:
        examples = _with_known_labels(loaded.examples, task, options, sink)
    if task.variables or task.template_language != "simple":
        examples = _with_fitting_values(examples, renderer, options, sink)
    _check_lengths(examples, renderer, model, task, options)
    report = check_examples(
        examples,
        length_of=length,
        maximum=model.maximum_length or _NO_LIMIT,
        minimum_rows=1 if is_test else 8,
        needs_several_targets=not is_test,
    )
    for line in report.lines():
        sink.emit(Notice(f"Check     {line}"))
    return report.examples


def _report_skipped(lines: Sequence[str], count: int, sink: EventSink) -> None:
    for line in lines[:_MOST_REPORTED]:
        sink.emit(Notice(f"Skipped   {line}"))
    if count > _MOST_REPORTED:
        sink.emit(Notice(f"Skipped   {count - _MOST_REPORTED} more bad rows"))


class _RowLength:
    """Tokens that a row may need with any of the prompts asked for: written, tuned, and answered freely."""

    def __init__(self, renderer: RowRenderer, task: Task, options: TuneOptions, maximum: int) -> None:
        self._renderer = renderer
        self._maximum = maximum
        self._longest_prompt = len(renderer.prefix_ids) + _num_more_tokens(renderer, task, options)
        choices = renderer.choices
        self._least = task.max_new_tokens if choices is None else max(map(len, choices.choice_ids))
        self.longest_behind = 0
        """Of the rows that fit: tokens behind the prompt."""

    def __call__(self, example: Example) -> int:
        answer = self._renderer.answer_ids(example.targets[0]) if example.targets else []
        row = self._renderer.row_ids(example)
        behind = self._renderer.num_behind(len(row), max(len(answer), self._least))
        if self._longest_prompt + behind <= self._maximum:
            self.longest_behind = max(self.longest_behind, behind)
        return self._longest_prompt + behind


def _num_more_tokens(renderer: RowRenderer, task: Task, options: TuneOptions) -> int:
    """Tokens that a prompt that was asked for may have beyond those of the text prompt."""
    front = max(options.num_virtual_tokens, default=0)
    if options.start_from is not None:
        front = RunFolder.open(Path(options.start_from)).load_prompt()[0].num_tokens
    # Before [CLS] they take the place of the words behind it only.
    kept = renderer.num_leading_tokens if renderer.fills_masks and front else 0
    longer_front = max(0, front + kept - len(renderer.prefix_ids))
    by_placement: dict[Placement, int] = {
        "front": longer_front,
        "both": longer_front + NUM_PLACED_TOKENS,
        "encoder_decoder": longer_front + NUM_PLACED_TOKENS,
        "markers": task.template.num_virtual_tokens,
    }
    placed = max(options.num_virtual_tokens, default=NUM_PLACED_TOKENS)
    asked = options.placements or tuple(
        placement
        for placement in placements_of(task, options, encodes_input=renderer.encodes_input)
        if placement in ("front", "markers")
    )
    return max((by_placement.get(placement, placed) for placement in asked), default=placed)


def _with_known_labels(
    examples: Sequence[Example], task: Task, options: TuneOptions, sink: EventSink
) -> Sequence[Example]:
    if task.labels is None:
        return examples
    unknown = {
        position: f"{describe_place(example.source)}: {example.targets[0]!r} is not a label of task "
        f"{task.name} ({', '.join(task.labels)})"
        for position, example in enumerate(examples)
        if example.targets and example.targets[0] not in task.labels
    }
    remedy = "correct the row, or add the label to the task file"
    return _without(unknown, examples, remedy, options, sink)


def _with_fitting_values(
    examples: Sequence[Example], renderer: RowRenderer, options: TuneOptions, sink: EventSink
) -> Sequence[Example]:
    unusable = {}
    for position, example in enumerate(examples):
        try:
            renderer.row_ids(example)
        except DataError as error:
            unusable[position] = str(error)
    remedy = "correct the row, or what the task file says of the variable"
    return _without(unusable, examples, remedy, options, sink)


def _with_known_tags(
    examples: Sequence[Example], renderer: TagRenderer, options: TuneOptions, sink: EventSink
) -> Sequence[Example]:
    unusable = {}
    for position, example in enumerate(examples):
        try:
            renderer.training_row(example)
        except DataError as error:
            unusable[position] = str(error)
    remedy = "correct the row, or pass --skip-bad-rows to leave such rows out"
    return _without(unusable, examples, remedy, options, sink)


def _without(
    unusable: Mapping[int, str],
    examples: Sequence[Example],
    remedy: str,
    options: TuneOptions,
    sink: EventSink,
) -> Sequence[Example]:
    """The examples but those at the places in `unusable`, if such rows are to be skipped."""
    if not unusable:
        return examples
    if not options.skip_bad_rows:
        raise DataError(f"{next(iter(unusable.values()))}; {remedy}")
    _report_skipped(list(unusable.values()), len(unusable), sink)
    return ExampleView(examples, [place for place in range(len(examples)) if place not in unusable])


def _check_lengths(
    examples: Sequence[Example], renderer: RowRenderer, model: FrozenModel, task: Task, options: TuneOptions
) -> None:
    if model.maximum_length is None or options.skip_bad_rows:
        return
    more = _num_more_tokens(renderer, task, options)
    for example in examples:
        renderer.check_length(example, model.maximum_length, more)
        if renderer.choices is None:
            # Without a target, the check leaves room for the longest answer that may be generated.
            renderer.check_length(replace(example, targets=()), model.maximum_length, more)


def _report_leaks(train: Sequence[Example], test: Sequence[Example], sink: EventSink) -> None:
    leaks = find_leaks(train, test)
    for leak in leaks[:3]:
        sink.emit(Notice(f"Leak      {leak}"))
    if len(leaks) > 3:
        sink.emit(Notice(f"Leak      {len(leaks) - 3} more test rows are also training rows"))


def _report_boundaries(renderer: RowRenderer, examples: Sequence[Example], sink: EventSink) -> None:
    count = sum(renderer.boundary_differs(example) for example in examples)
    if count:
        sink.emit(
            Notice(
                f"Tokens    {count} of {len(examples)} rows would be tokenised otherwise if prompt and input "
                "were one text; the text prompt is measured as it is tuned, split where the input begins"
            )
        )
