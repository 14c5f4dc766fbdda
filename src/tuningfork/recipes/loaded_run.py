"""A finished run in use: its prompt on its base model."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch

from tuningfork.data.columns import to_example
from tuningfork.data.example import Example, Message
from tuningfork.data.readers import read_rows
from tuningfork.data.rows import RawRow
from tuningfork.data.word_tags import read_words
from tuningfork.errors import ContextLengthError, DataError, ModelError, PromptError
from tuningfork.evaluation.ensemble import Ensemble, Member
from tuningfork.evaluation.evaluate import Evaluation, Prediction
from tuningfork.evaluation.tagging import ensemble_for
from tuningfork.events import EventSink, Notice, NullSink
from tuningfork.library.places import LibraryPlace
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import MemberRecord, PromptRecord
from tuningfork.models.artefacts import SoftPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.loading import load_model
from tuningfork.recipes.arrangement import arrange, row_format
from tuningfork.recipes.environment import identity_of
from tuningfork.recipes.open_version import find_run
from tuningfork.recipes.task_file import columns_of
from tuningfork.types import Combine

_ROWS_PER_CHUNK = 64


class LoadedRun:
    """The prompt that a run chose, or those that answer together, read by the base model and ready to answer.

    With `others`, runs that answer the same question, all their prompts answer together, each to rows as the
    task of its own run writes them; the task of the first run says what counts as one answer.
    """

    def __init__(
        self,
        folder: RunFolder,
        model: FrozenModel,
        *,
        others: Sequence[RunFolder] = (),
        combine: Combine | None = None,
    ) -> None:
        """Read the prompts; `combine` says how several answer, by default as the run did that has them.

        Raises:
            PromptError: if the runs do not answer the same question, or cannot be combined so.
        """
        self.folder = folder
        self.task = folder.task
        self.model = model
        self.prompt_record: PromptRecord
        self.soft_prompt: SoftPrompt | None
        self.prompt_record, self.soft_prompt = folder.load_prompt()
        for other in others:
            _check_question(folder, other)
        self._members = [member for each in (folder, *others) for member in _members(each, model)]
        self.renderer = self._members[0].renderer
        self._ensemble = ensemble_for(
            model, self.task, self._members, combine=combine or self.prompt_record.combine
        )

    def answer(self, inputs: str | Mapping[str, str]) -> Prediction:
        """Answer one input: its text, or a text for each variable of the task.

        Raises:
            DataError: if variables are missing, or one text is given and the task has several variables.
        """
        return next(self.predict([self.example(inputs)]))

    def example(self, inputs: str | Mapping[str, str]) -> Example:
        """An example without a target from the text of the input, or of each variable.

        Raises:
            DataError: if variables are missing, or one text is given and the task has several variables; or
                if words are to be tagged and there are none.
        """
        variables = tuple(self.task.template.variables)
        if isinstance(inputs, str):
            if self.task.is_conversation:
                return Example(messages=(Message("user", inputs),))
            if len(variables) != 1:
                raise DataError(
                    f"task {self.task.name} has {len(variables)} variables ({', '.join(variables)}); "
                    "give a value for each: --input name=value"
                )
            return self._read({variables[0]: inputs})
        missing = [name for name in variables if name not in inputs]
        unknown = [name for name in inputs if name not in variables]
        if missing or unknown:
            raise DataError(
                f"task {self.task.name} needs the variables {', '.join(variables)}; "
                f"missing: {', '.join(missing) or 'none'}; unknown: {', '.join(unknown) or 'none'}"
            )
        return self._read(inputs)

    def _read(self, inputs: Mapping[str, str]) -> Example:
        if not self.task.has_tags:
            return Example(inputs=dict(inputs))
        return Example(inputs={name: read_words(text, "the input") for name, text in inputs.items()})

    @property
    def members(self) -> Sequence[Member]:
        """The prompts that answer, each with what its rows look like."""
        return self._members

    @property
    def ensemble(self) -> Ensemble:
        """What answers: the prompts together, even where there is one."""
        return self._ensemble

    def predict(self, examples: Iterable[Example]) -> Iterator[Prediction]:
        """Answer `examples` in order, some at a time, so that any number fits in memory."""
        waiting = iter(examples)
        while chunk := list(islice(waiting, _ROWS_PER_CHUNK)):
            yield from self._ensemble.predict(chunk)

    def count_tokens(self, text: str) -> int:
        """Tokens of `text` by the model's tokenizer, without those that open and close texts."""
        return count_tokens(self.model, text)

    def evaluate(self, examples: Sequence[Example]) -> Evaluation:
        """Score the answers to `examples`, each with at least one target, by the metric of the task.

        Raises:
            TaskError: if the metric is a function of the user's that fails on a row.
        """
        return self._ensemble.evaluate(examples)

    def predict_file(
        self, source: str, *, skip_bad_rows: bool = False, sink: EventSink | None = None
    ) -> Iterator[str]:
        """Answer every row of a file, each as a line of JSON: the row with what was predicted.

        `prediction` is added to it and, for labels, `probabilities`; where words are tagged, both are lists
        with an entry for each word.

        Raises:
            DataError: if a row cannot be read or lacks a column that the task reads.
            ContextLengthError: if a row does not fit the model.
        """
        for row, _, prediction in self.answer_file(source, skip_bad_rows=skip_bad_rows, sink=sink):
            yield json_line({**row.values, **prediction.fields(digits=6)})

    def answer_file(
        self, source: str, *, skip_bad_rows: bool = False, sink: EventSink | None = None
    ) -> Iterator[tuple[RawRow, Example, Prediction]]:
        """Answer every row of a file: the row as it was read, as an example, and the answer.

        Raises:
            DataError: if a row cannot be read or lacks a column that the task reads.
            ContextLengthError: if a row does not fit the model.
        """
        report = sink or NullSink()
        rows = read_rows(
            source,
            skip_bad_rows=skip_bad_rows,
            on_bad_row=lambda line: report.emit(Notice(f"Skipped   {line}")),
        )
        usable = self._usable(rows, skip_bad_rows=skip_bad_rows, sink=report)
        while chunk := list(islice(usable, _ROWS_PER_CHUNK)):
            predictions = self._ensemble.predict([example for _, example in chunk])
            for (row, example), prediction in zip(chunk, predictions, strict=True):
                yield row, example, prediction

    def _usable(
        self, rows: Iterable[RawRow], *, skip_bad_rows: bool, sink: EventSink
    ) -> Iterator[tuple[RawRow, Example]]:
        columns = columns_of(self.task)
        for row in rows:
            try:
                example = to_example(row, columns, needs_target=False)
                check_length(self.model, self._members, example)
            except (DataError, ContextLengthError) as error:
                if not skip_bad_rows:
                    raise
                sink.emit(Notice(f"Skipped   {error}"))
            else:
                yield row, example


def check_length(model: FrozenModel, members: Sequence[Member], example: Example) -> None:
    """Check that each prompt of `members`, `example` and the longest answer fit the model.

    Raises:
        ContextLengthError: They do not.
    """
    if model.maximum_length is None:
        return
    # What is to be answered has no target yet, so that there must be room for the longest answer.
    unanswered = replace(example, targets=())
    for member in members:
        virtual = member.prefix.num_tokens - len(member.renderer.prefix_ids)
        member.renderer.check_length(unanswered, model.maximum_length, virtual)


def count_tokens(model: FrozenModel, text: str) -> int:
    """Tokens of `text` by the model's tokenizer, without those that open and close texts."""
    return len(model.tokenizer.encode(text, add_special_tokens=False))


def json_line(values: Mapping[str, object]) -> str:
    """A row as a line of JSON; what JSON has no word for is written as text."""
    return json.dumps(values, ensure_ascii=False, default=str)


def load_run(
    path: str | Path,
    *,
    model: str | None = None,
    device: str = "auto",
    library: LibraryPlace | None = None,
    sink: EventSink | None = None,
) -> LoadedRun:
    """Load the prompt of the run at `path`, or of the version that it names, with its base model.

    A text where nothing lies, such as `shop/reply@production`, is the name of a version in `library`, by
    default the one that the environment names, or the folder `library`. `model` says where the base model
    lies now, if it has moved; what must be the same are its weights, tokenizer and chat template.

    Raises:
        RunError: if there is no such run, or it has chosen no prompt.
        ModelError: if the base model cannot be loaded or is another one.
    """
    return load_runs([path], model=model, device=device, library=library, sink=sink)


def load_runs(
    paths: Sequence[str | Path],
    *,
    combine: Combine | None = None,
    model: str | None = None,
    device: str = "auto",
    library: LibraryPlace | None = None,
    sink: EventSink | None = None,
) -> LoadedRun:
    """Load the prompts of the runs or versions at `paths`, which answer together, with their base model.

    Raises:
        RunError: if there is no such run, or one has chosen no prompt.
        ModelError: if the base model cannot be loaded or is another one.
        PromptError: if the runs do not answer the same question, or cannot be combined by `combine`.
    """
    folder, *others = [find_run(path, library) for path in paths]
    for opened in (folder, *others):
        opened.check_own_task()
    record = folder.record.model
    report = sink or NullSink()
    base = load_model(
        model or record.name,
        device=device,
        dtype=record.dtype if device == "auto" else "auto",
        quantize=record.quantize,
        announce=lambda message: report.emit(Notice(message)),
    )
    for each in (folder, *others):
        check_base(each, base)
    return LoadedRun(folder, base, others=others, combine=combine)


def check_base(folder: RunFolder, base: FrozenModel) -> None:
    """Check that `base` is the model that the run in `folder` was tuned for, if it was for one.

    Raises:
        ModelError: if it is another one; the message says which part differs.
    """
    # Words that nothing was learned for are bound to no base.
    is_bound = bool(folder.record.model.weights)
    changed = identity_of(folder.record.model).differences(base.identity()) if is_bound else []
    if changed:
        raise ModelError(
            f"{base.name}: not the base model that {folder.path} was tuned for (other "
            f"{', '.join(changed)}); name the right one with --model"
        )


@torch.no_grad()
def _members(folder: RunFolder, model: FrozenModel) -> list[Member]:
    """What answers for the run in `folder`: its prompt, or its prompts."""
    record, soft = folder.load_prompt()
    prompts: list[tuple[PromptRecord | MemberRecord, SoftPrompt | None]] = [*folder.load_members()]
    members = []
    for member, prompt in prompts or [(record, soft)]:
        placed = member.num_placed_tokens or None
        renderer = arrange(
            folder.task, model.tokenizer, member.placement, placed, **row_format(model)
        ).renderer
        members.append(Member(model.prefix([prompt or renderer.prefix_ids]), renderer))
    return members


def _check_question(folder: RunFolder, other: RunFolder) -> None:
    """Check that the tasks of two runs read the same inputs and give the same kind of answer."""
    ours, theirs = folder.task, other.task
    inputs = [sorted(task.template.variables) for task in (ours, theirs)]
    if (ours.type, ours.is_conversation, inputs[0]) != (theirs.type, theirs.is_conversation, inputs[1]):
        raise PromptError(
            f"{other.path}: cannot answer together with {folder.path}: task {theirs.name} ({theirs.type} of "
            f"{', '.join(inputs[1]) or 'conversations'}) is not task {ours.name} ({ours.type} of "
            f"{', '.join(inputs[0]) or 'conversations'})"
        )
