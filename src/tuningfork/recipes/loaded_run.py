"""A finished run in use: its prompt on its base model."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch

from tuningfork.data.columns import to_example
from tuningfork.data.example import Example, Message
from tuningfork.data.readers import read_rows
from tuningfork.data.rows import RawRow
from tuningfork.errors import ContextLengthError, DataError, ModelError, RunError
from tuningfork.evaluation.evaluate import Evaluator, Prediction
from tuningfork.events import EventSink, Notice, NullSink
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import PromptRecord
from tuningfork.models.artefacts import SoftPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.loading import load_model
from tuningfork.recipes.arrangement import arrange
from tuningfork.recipes.environment import identity_of
from tuningfork.recipes.task_file import columns_of

_ROWS_PER_CHUNK = 64


class LoadedRun:
    """The prompt that a run chose, read by its base model once and ready to answer."""

    def __init__(self, folder: RunFolder, model: FrozenModel) -> None:
        self.folder = folder
        self.task = folder.task
        self.model = model
        self.prompt_record: PromptRecord
        self.soft_prompt: SoftPrompt | None
        self.prompt_record, self.soft_prompt = folder.load_prompt()
        self.renderer = arrange(
            self.task,
            model.tokenizer,
            self.prompt_record.placement,
            self.prompt_record.num_placed_tokens or None,
        ).renderer
        with torch.no_grad():
            self._prefix = model.prefix([self.soft_prompt or self.renderer.prefix_ids])
        self._evaluator = Evaluator(model, self.task, self.renderer)

    def answer(self, inputs: str | Mapping[str, str]) -> Prediction:
        """Answer one input: its text, or a text for each variable of the task.

        Raises:
            DataError: if variables are missing, or one text is given and the task has several variables.
        """
        return next(self.predict([self.example(inputs)]))

    def example(self, inputs: str | Mapping[str, str]) -> Example:
        """An example without a target from the text of the input, or of each variable.

        Raises:
            DataError: if variables are missing, or one text is given and the task has several variables.
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
            return Example(inputs={variables[0]: inputs})
        missing = [name for name in variables if name not in inputs]
        unknown = [name for name in inputs if name not in variables]
        if missing or unknown:
            raise DataError(
                f"task {self.task.name} needs the variables {', '.join(variables)}; "
                f"missing: {', '.join(missing) or 'none'}; unknown: {', '.join(unknown) or 'none'}"
            )
        return Example(inputs=dict(inputs))

    def predict(self, examples: Iterable[Example]) -> Iterator[Prediction]:
        """Answer `examples` in order, some at a time, so that any number fits in memory."""
        waiting = iter(examples)
        while chunk := list(islice(waiting, _ROWS_PER_CHUNK)):
            yield from self._evaluator.predict(self._prefix, chunk)

    def predict_file(
        self, source: str, *, skip_bad_rows: bool = False, sink: EventSink | None = None
    ) -> Iterator[str]:
        """Answer every row of a file, each as a line of JSON: the row with what was predicted.

        `prediction` is added to it and, for labels, `probabilities`.

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
            predictions = self._evaluator.predict(self._prefix, [example for _, example in chunk])
            for (row, _), prediction in zip(chunk, predictions, strict=True):
                answer: dict[str, object] = {**row.values, "prediction": prediction.text}
                if prediction.probabilities is not None:
                    answer["probabilities"] = {
                        label: round(share, 6) for label, share in prediction.probabilities.items()
                    }
                yield json.dumps(answer, ensure_ascii=False, default=str)

    def _usable(
        self, rows: Iterable[RawRow], *, skip_bad_rows: bool, sink: EventSink
    ) -> Iterator[tuple[RawRow, Example]]:
        columns = columns_of(self.task)
        for row in rows:
            try:
                example = to_example(row, columns, needs_target=False)
                self._check_length(example)
            except (DataError, ContextLengthError) as error:
                if not skip_bad_rows:
                    raise
                sink.emit(Notice(f"Skipped   {error}"))
            else:
                yield row, example

    def _check_length(self, example: Example) -> None:
        if self.model.maximum_length is None:
            return
        # What is to be answered has no target yet, so that there must be room for the longest answer.
        self.renderer.check_length(
            replace(example, targets=()),
            self.model.maximum_length,
            self._prefix.num_tokens - len(self.renderer.prefix_ids),
        )


def load_run(
    path: str | Path, *, model: str | None = None, device: str = "auto", sink: EventSink | None = None
) -> LoadedRun:
    """Load the prompt of the run at `path` together with its base model.

    `model` says where the base model lies now, if it has moved; what must be the same are its weights,
    tokenizer and chat template.

    Raises:
        RunError: if there is no such run, or it has chosen no prompt.
        ModelError: if the base model cannot be loaded or is another one.
    """
    folder = RunFolder.open(Path(path))
    if folder.record.origin == "shared":
        raise RunError(
            f"{path}: holds what several tasks share, not a prompt of one; "
            f"learn one with: tuningfork tune TASK --start-from {path}"
        )
    record = folder.record.model
    report = sink or NullSink()
    base = load_model(
        model or record.name,
        device=device,
        dtype=record.dtype if device == "auto" else "auto",
        announce=lambda message: report.emit(Notice(message)),
    )
    changed = identity_of(record).differences(base.identity())
    if changed:
        raise ModelError(
            f"{base.name}: not the base model that {path} was tuned for (other {', '.join(changed)}); "
            "name the right one with --model"
        )
    return LoadedRun(folder, base)
