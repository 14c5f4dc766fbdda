"""A task file looked at for what is likely to be wrong with its prompt."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tuningfork.data.example import Example
from tuningfork.data.store import load_examples
from tuningfork.errors import TaskError
from tuningfork.events import EventSink, Notice
from tuningfork.recipes.task_file import columns_of, task_file_in
from tuningfork.tasks.lint.registry import lint
from tuningfork.tasks.lint.rule import Finding, ModelView, Subject
from tuningfork.tasks.task import Task, load_task


def lint_file(
    path: Path, sink: EventSink, *, model: str | None = None, reads_data: bool = False
) -> list[Finding]:
    """Return what is likely to be wrong with the task at `path`, errors first.

    With `reads_data` its rows are looked at too. `model` says whose tokens and whose length count; it is
    loaded.

    Raises:
        TaskError: if there is no such file, or the model cannot be used for the task.
        DataError: if the rows cannot be read.
        ModelError: if the model cannot be loaded.
    """
    subject = _read(path)
    task = subject.task
    if task is None:
        return lint(subject)
    if reads_data:
        data, columns = task.data, columns_of(task)
        rows = load_examples(data.train, columns).examples
        tested = load_examples(data.test, columns).examples if data.test is not None else ()
        subject = replace(subject, rows=rows, tested=tested)
    if model is not None:
        subject = replace(subject, model=_view(task, model, sink))
    return lint(subject)


def _read(path: Path) -> Subject:
    path = Path(task_file_in(str(path)))
    if not path.is_file():
        raise TaskError(f"{path}: there is no such task file")
    try:
        task = load_task(path, imports_code=False)
    except TaskError as error:
        return Subject(_fields(path), None, problem=str(error).removeprefix(f"{path}: "))
    return Subject(_fields(path), task)


def _fields(path: Path) -> Mapping[str, Any]:
    """What stands in the file, as far as it can be read."""
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError):
        content = None
    return content if isinstance(content, dict) else {}


def _view(task: Task, name: str, sink: EventSink) -> ModelView:
    from tuningfork.models.loading import load_model
    from tuningfork.recipes.arrangement import row_format
    from tuningfork.tasks.tagging import renderer_for

    model = load_model(name, announce=lambda message: sink.emit(Notice(message)))
    renderer = renderer_for(task, model.tokenizer, **row_format(model))
    choices = renderer.choices
    label_ids = {} if choices is None else dict(zip(choices.labels, choices.choice_ids, strict=True))
    least = task.max_new_tokens if choices is None else max(map(len, label_ids.values()))

    def num_tokens(row: Example) -> int:
        answer = renderer.answer_ids(row.targets[0]) if row.targets else []
        behind = renderer.num_behind(
            len(renderer.row_ids(row)), max(len(answer), 0 if task.has_tags else least)
        )
        return len(renderer.prefix_ids) + behind

    return ModelView(name, label_ids, model.maximum_length, num_tokens)
