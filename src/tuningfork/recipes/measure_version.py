"""Evidence of a version of the library: from a run or a comparison, from a file, or measured now."""

from collections.abc import Sequence
from pathlib import Path

from tuningfork.data.checks import check_examples
from tuningfork.data.example import Example
from tuningfork.data.hashing import hash_example
from tuningfork.data.store import load_examples
from tuningfork.errors import DataError, LibraryError, TuningForkError
from tuningfork.events import EventSink, Notice, NullSink
from tuningfork.library.comparison_folder import ComparisonFolder
from tuningfork.library.contents import VersionRecord
from tuningfork.library.evidence import Evidence, read_evidence
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import TEXT_PROMPT
from tuningfork.library.store import Library
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.evidence import (
    evidence_of_answers,
    evidence_of_comparison,
    evidence_of_run,
    example_of,
    read_predictions,
)
from tuningfork.recipes.loaded_run import load_run
from tuningfork.recipes.open_version import open_version
from tuningfork.recipes.register import TASK_FILE, version_of_run
from tuningfork.recipes.seen_rows import seen_test_rows
from tuningfork.recipes.task_file import columns_of
from tuningfork.tasks.metrics import get_metric
from tuningfork.tasks.task import Task, load_task

_RUN_FILE = "run.json"


def evidence_from_run(version: VersionRecord, folder: RunFolder) -> Evidence:
    """What a run measured of a version, which is its prompt or the text prompt that it began with.

    Raises:
        LibraryError: if the version is neither.
        RunError: if the run is not finished, or its answers cannot be read.
    """
    return evidence_of_run(folder, version.content_hash, way=way_of(version, folder))


def way_of(version: VersionRecord, folder: RunFolder) -> str | None:
    """The way of prompting of a run that a version is: None is what the run answers with.

    Raises:
        LibraryError: if the version is none of them.
        RunError: if the run is not finished.
    """
    prepared = version_of_run(folder)
    if prepared.content.hash == version.content.hash:
        return None
    same_task = prepared.content.files[TASK_FILE] == version.content.files.get(TASK_FILE)
    if version.content.kind == "text" and same_task:
        return TEXT_PROMPT
    raise LibraryError(
        f"{version.reference}: is neither the prompt of {folder.path} (content "
        f"{prepared.content.hash[:12]}) nor the words of its task, so the run says nothing of it; measure it "
        f"on its test rows with: tuningfork library evidence add {version.reference} --rows {folder.path}"
    )


def evidence_from_comparison(
    version: VersionRecord, folder: Path, contestant: str, *, seed: int | None = None
) -> Evidence:
    """What the comparison in `folder` measured of a contestant that is the version.

    Raises:
        LibraryError: if the version is of another task, or there is no such contestant.
        RunError: if there is no comparison, or it cannot be read.
    """
    record = ComparisonFolder(folder).record
    if record.task_hash != version.lineage.task_hash:
        raise LibraryError(
            f"{version.reference}: is of task {version.lineage.task_hash[:12] or 'unknown'}, the comparison "
            f"is of {record.task_hash[:12]}: it says nothing of this version"
        )
    return evidence_of_comparison(record, contestant, version.content_hash, seed=seed)


def evidence_from_file(path: Path) -> Evidence:
    """The evidence in a file of the format that `library.evidence` describes.

    Raises:
        LibraryError: if it cannot be read, or is no evidence.
    """
    try:
        return read_evidence(path.read_bytes())
    except OSError as error:
        raise LibraryError(f"{path}: cannot be read ({error.strerror or error})") from error
    except LibraryError as error:
        raise LibraryError(f"{path}: {error}") from error


def measure_version(
    library: Library,
    reference: str,
    source: str,
    *,
    metric: str | None = None,
    model: str | None = None,
    device: str = "auto",
    sink: EventSink | None = None,
) -> Evidence:
    """Have a version answer the rows of a file, or the test rows of a run, and score its answers.

    `metric` is by default that of its task. Rows that it learned from are refused, as far as can be told.

    Raises:
        LibraryError: if there is no such version, or it cannot be run.
        DataError: if the rows cannot be read, or it learned from some of them.
        ModelError: if the base model cannot be loaded or is another one.
    """
    report = sink or NullSink()
    version = library.get(reference)
    folder = open_version(library, version.reference)
    task = folder.task
    loaded = load_run(folder.path, model=model, device=device, sink=report)
    examples = _rows(source, task, report)
    _check_unseen(version, loaded.model, examples, report)
    found = loaded.evaluate(examples)
    return evidence_of_answers(
        examples,
        found.predictions,
        task.scoring if metric is None else get_metric(metric, task.code),
        version.content_hash,
        log_losses=found.log_losses,
        probabilities=found.probabilities,
        labels=found.labels,
        base=loaded.model.identity().weights,
        origin="measured",
    )


def row_hashes(source: str, task_file: Path) -> list[str]:
    """The hashes of the rows of a file, read as a task says.

    Raises:
        DataError: if the rows cannot be read.
        TaskError: if the task file is wrong.
    """
    task = load_task(task_file, imports_code=False)
    return [hash_example(example) for example in _rows(source, task, NullSink())]


def _rows(source: str, task: Task, sink: EventSink) -> Sequence[Example]:
    """The rows of a file, or the test rows of a run; the same that `tune` would use of them."""
    path = Path(source)
    if (path / _RUN_FILE).is_file():
        return [example_of(row) for row in read_predictions(RunFolder.open(path))]
    loaded = load_examples(source, columns_of(task))
    report = check_examples(loaded.examples, minimum_rows=1, needs_several_targets=False)
    for line in report.lines():
        sink.emit(Notice(f"Check     {line}"))
    if task.labels is not None and not task.has_tags:
        for example in report.examples:
            if example.targets[0] not in task.labels:
                raise DataError(
                    f"{example.source}: {example.targets[0]!r:.60} is not a label of task {task.name} "
                    f"({', '.join(task.labels)})"
                )
    return report.examples


def _check_unseen(
    version: VersionRecord, model: FrozenModel, examples: Sequence[Example], sink: EventSink
) -> None:
    """Check that the version did not learn from these rows, if the run that made it is still there."""
    if not version.lineage.run:
        # Words that were written learned from nothing here.
        return
    try:
        seen = seen_test_rows(RunFolder.open(Path(version.lineage.run)), model, examples)
    except TuningForkError:
        seen = None
    if seen is None:
        sink.emit(Notice(f"Check     whether {version.reference} learned from these rows cannot be told"))
    elif seen:
        raise DataError(
            f"{version.reference}: learned from {seen} of these {len(examples)} rows, so they prove nothing "
            "of it; measure it on others"
        )
