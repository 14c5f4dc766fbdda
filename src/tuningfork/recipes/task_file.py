"""From a file of examples to a task file."""

import re
from pathlib import Path

from tuningfork.data.checks import check_examples
from tuningfork.data.columns import ColumnMap
from tuningfork.data.store import LoadedExamples, load_examples
from tuningfork.errors import TaskError
from tuningfork.events import EventSink, Notice
from tuningfork.tasks.draft import draft_task
from tuningfork.tasks.task import Task, load_task, save_task

TASK_FILE = "task.yaml"
_TASK_SUFFIXES = (".yaml", ".yml")


def task_file_in(source: str) -> str:
    """The `task.yaml` in the folder `source`, if that is one that has it; else `source` itself.

    Raises:
        TaskError: if it is an empty folder.
    """
    folder = Path(source)
    if not folder.is_dir():
        return source
    if not any(folder.iterdir()):
        raise TaskError(f"{source}: expected a folder with a {TASK_FILE}, found an empty one")
    return str(folder / TASK_FILE) if (folder / TASK_FILE).is_file() else source


def task_file_for(source: str) -> Path:
    """Where the task drafted for the examples in `source` is kept: beside a file, else in this folder."""
    path = Path(source)
    if path.is_file():
        stem = path.name.removesuffix(".gz").rsplit(".", 1)[0]
        return path.parent / f"{stem}.task.yaml"
    return Path(re.sub(r"[^A-Za-z0-9]+", "-", source).strip("-") + ".task.yaml")


def columns_of(task: Task) -> ColumnMap:
    """Which columns of the data hold what, as `task` says."""
    return ColumnMap(
        inputs=task.data.inputs,
        target=task.data.target,
        messages=task.data.messages,
        is_json_target=task.type == "extraction",
        has_tags=task.has_tags,
        optional=frozenset(name for name, spec in task.variables.items() if spec.default is not None),
    )


def draft_task_file(
    source: str,
    *,
    sink: EventSink,
    columns: ColumnMap | None = None,
    test: str | None = None,
    split: str | None = None,
    skip_bad_rows: bool = False,
    output: Path | None = None,
    overwrite: bool = False,
) -> tuple[Task, Path]:
    """Look at the examples in `source`, draft a task for them, and write it to a file.

    Raises:
        TaskError: if the file exists and may not be overwritten.
        DataError: if the examples cannot be read or tuned on, or their columns cannot be told apart.
    """
    path = output or task_file_for(source)
    if path.exists() and not overwrite:
        raise TaskError(f"{path}: exists already; edit it, or pass --force to draft it anew")
    task = _draft(
        source, path, sink=sink, columns=columns, test=test, split=split, skip_bad_rows=skip_bad_rows
    )
    save_task(task, path)
    return load_task(path), path


def find_task(
    source: str,
    *,
    sink: EventSink,
    columns: ColumnMap | None = None,
    test: str | None = None,
    split: str | None = None,
    skip_bad_rows: bool = False,
    is_dry_run: bool = False,
) -> Task:
    """The task that `source` names: a task file, or examples for which one is drafted or was drafted before.

    A folder with a `task.yaml` is that task.

    Raises:
        TaskError: if a task file is wrong, or names other columns than `columns`.
        DataError: if the examples cannot be read or tuned on, or their columns cannot be told apart.
    """
    source = task_file_in(source)
    is_task_file = source.endswith(_TASK_SUFFIXES)
    path = Path(source) if is_task_file else task_file_for(source)
    if is_task_file or path.exists():
        task = load_task(path)
        _check_columns(task, path, columns)
        if not is_task_file:
            sink.emit(
                Notice(f"Task      {task.name}: using {path}, which was there; delete it to start over")
            )
    else:
        task = _draft(
            source, path, sink=sink, columns=columns, test=test, split=split, skip_bad_rows=skip_bad_rows
        )
        if is_dry_run:
            sink.emit(Notice(f"Task      {task.name}, not saved in a dry run"))
        else:
            save_task(task, path)
            task = load_task(path)
            sink.emit(Notice(f"Task      {task.name}, saved as {path} (edit and rerun any time)"))
    if test is not None:
        task = task.model_copy(update={"data": task.data.model_copy(update={"test": test})})
    return task


def _draft(
    source: str,
    path: Path,
    *,
    sink: EventSink,
    columns: ColumnMap | None,
    test: str | None,
    split: str | None,
    skip_bad_rows: bool,
) -> Task:
    loaded = load_examples(source, columns, split=split, skip_bad_rows=skip_bad_rows)
    # A draft from rows that cannot be tuned on would be a wrong one, and found again at the next start.
    check_examples(loaded.examples)
    task, guesses = draft_task(
        loaded.examples,
        name=_task_name(path),
        data_path=source,
        test_path=test,
        inputs=dict(loaded.columns.inputs),
        target=loaded.columns.target,
        messages=loaded.columns.messages,
    )
    for message in (_describe(loaded), *guesses):
        sink.emit(Notice(message))
    return task


def _check_columns(task: Task, path: Path, columns: ColumnMap | None) -> None:
    if columns is None or (dict(columns.inputs), columns.target) == (task.data.inputs, task.data.target):
        return
    raise TaskError(
        f"{path}: names other columns than --input and --target; edit it, delete it to start over, "
        "or leave out the options"
    )


def _task_name(path: Path) -> str:
    stem = path.name.removesuffix(".yaml").removesuffix(".yml").removesuffix(".task")
    return re.sub(r"[^A-Za-z0-9]+", "-", stem).strip("-").lower() or "task"


def _describe(loaded: LoadedExamples) -> str:
    rows = f"Read {len(loaded.examples)} examples from {loaded.source}"
    return f"{rows}. {loaded.columns.explanation}" if loaded.columns.explanation else f"{rows}."
