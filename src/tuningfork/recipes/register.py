"""Finished runs and written prompts as versions in a library, whole: what answers needs nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tuningfork import __version__
from tuningfork.errors import RunError, TaskError, TuningForkError
from tuningfork.library.canonical import hash_bytes
from tuningfork.library.contents import Content, Contract, Figure, Kind, Lineage, VersionRecord
from tuningfork.library.naming import name_from
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import (
    TEXT_PROMPT,
    ModelRecord,
    PromptRecord,
    RunRecord,
    TuneOptions,
    TuneResult,
)
from tuningfork.library.store import Library
from tuningfork.recipes.evidence import evidence_of_run
from tuningfork.tasks.task import Task, save_task, task_hash

TASK_FILE, PROMPT_FILE, RUN_FILE = "task.yaml", "prompt.json", "run.json"
_FORGOTTEN_ROWS = "rows-stay-with-the-run.jsonl"
"""Stands where a task names its rows: a version is used without them."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is to be registered."""

    content: Content
    files: Mapping[str, bytes]
    lineage: Lineage


def register_run(
    library: Library,
    run: Path,
    *,
    author: str,
    name: str | None = None,
    parent: int | None = None,
    note: str = "",
    description: str = "",
) -> VersionRecord:
    """Register the prompt of the finished run at `run`, by default under the name of its task.

    Without `parent`, that is the newest version of the prompt with the words, or the virtual tokens, that
    tuning started from; there may be none.

    Raises:
        RunError: if there is no such run, or it is not finished.
        LibraryError: if `name` is none, or the library cannot be written.
        AccessError: if `author` may not register there.
    """
    folder = RunFolder.open(run)
    prepared = version_of_run(folder)
    wanted = name or name_from(folder.task.name)
    made = library.register(
        wanted,
        prepared.content,
        prepared.files,
        prepared.lineage,
        author=author,
        parent=_parent(library, wanted, prepared) if parent is None else parent,
        note=note,
        description=description,
    )
    _record_evidence(library, folder, made, author)
    return made


def _record_evidence(library: Library, folder: RunFolder, made: VersionRecord, author: str) -> None:
    """Keep what the run measured of its prompt and, where its words are the parent, of these."""
    if not folder.is_finished:
        # What came from elsewhere was not measured.
        return
    try:
        evidence = evidence_of_run(folder, made.content_hash)
    except (RunError, TaskError):
        # Its answers are gone, or its metric is code that nobody trusts here: the version stands, and gates
        # say what it lacks.
        return
    library.record_evidence(made.reference, evidence, author=author)
    if made.parent is None:
        return
    parent = library.get(f"{made.prompt}@{made.parent}")
    is_its_words = parent.content.files.get(TASK_FILE) == made.content.files[TASK_FILE]
    if parent.content.kind == "text" and is_its_words and parent.revoked is None:
        words = evidence_of_run(folder, parent.content_hash, way=TEXT_PROMPT)
        library.record_evidence(parent.reference, words, author=author)


def register_text(
    library: Library,
    task: Task,
    *,
    author: str,
    name: str | None = None,
    model: str = "bundled",
    parent: int | None = None,
    note: str = "",
    description: str = "",
) -> VersionRecord:
    """Register the text prompt of `task` as it is written; `model` is what it runs on unless told otherwise.

    Raises:
        LibraryError: if `name` is none, or the library cannot be written.
        AccessError: if `author` may not register there.
    """
    prepared = version_of_text(task, model=model)
    return library.register(
        name or name_from(task.name),
        prepared.content,
        prepared.files,
        prepared.lineage,
        author=author,
        parent=parent,
        note=note,
        description=description,
    )


def version_of_run(folder: RunFolder) -> Prepared:
    """Content, files and lineage of the prompt that a run chose.

    The same prompt gives the same content, whenever and wherever it was made: what is kept of the run says
    neither, and lineage does.

    Raises:
        RunError: if the run is not finished, or is of several tasks.
    """
    folder.check_own_task()
    record, task = folder.record, folder.task
    prompt, _ = folder.load_prompt()
    if record.origin != "import" and not folder.is_finished:
        raise RunError(
            f"{folder.path}: this run is not finished; go on with: tuningfork tune --resume {folder.path}"
        )
    kept = record.model_copy(update={"created": "", "environment": {}})
    files = {
        TASK_FILE: _task_bytes(task),
        RUN_FILE: _json_bytes(kept),
        **{path: (folder.path / path).read_bytes() for path in folder.prompt_files()},
    }
    lineage = Lineage(
        origin=record.origin,
        run=str(folder.path.resolve()),
        data_hash=record.data_hash,
        test_hash=record.test_hash,
        task_hash=record.task_hash,
        base_model=record.model.name,
        base_weights=record.model.weights,
        base_tokenizer=record.model.tokenizer,
        base_chat_template=record.model.chat_template,
        code_version=_code_version(record.environment),
        config=record.options.model_dump(mode="json"),
        figures=() if record.origin == "import" else figures_of(folder.result),
        sources=_sources(record),
    )
    return Prepared(_content(task, _kind(prompt), files), files, lineage)


def version_of_text(task: Task, *, model: str = "bundled") -> Prepared:
    """Content, files and lineage of a text prompt that nothing was learned for."""
    run = RunRecord(
        origin="text",
        created="",
        options=TuneOptions(model=model),
        model=_any_model(model),
        data_hash="",
        test_hash="",
        task_hash=task_hash(task),
        environment={},
    )
    files = {
        TASK_FILE: _task_bytes(task),
        RUN_FILE: _json_bytes(run),
        PROMPT_FILE: _json_bytes(PromptRecord(kind="text", text=task.prompt, num_tokens=0)),
    }
    lineage = Lineage(origin="text", task_hash=run.task_hash, base_model=model, code_version=__version__)
    return Prepared(_content(task, "text", files), files, lineage)


def figures_of(result: TuneResult) -> tuple[Figure, ...]:
    """What a run measured on its test rows: its answer first, then the other ways, then the difference."""
    metric, figures = result.metric, []
    for way in sorted(result.ways, key=lambda way: way.name != result.answer):
        of = "" if way.name == result.answer else f" of {way.name}"
        figures += [
            Figure(name=f"{metric}{of}", value=way.score, low=way.low, high=way.high, num_rows=way.num_rows),
            Figure(name=f"log_loss{of}", value=way.log_loss, num_rows=way.num_rows),
        ]
    verdict = result.verdict
    figures.append(
        Figure(
            name=f"{metric} minus {result.baseline}",
            value=verdict.difference,
            low=verdict.low,
            high=verdict.high,
            num_rows=verdict.num_rows,
        )
    )
    return tuple(figures)


def _content(task: Task, kind: Kind, files: Mapping[str, bytes]) -> Content:
    contract = Contract(
        task_type=task.type,
        variables=() if task.is_conversation else tuple(task.template.variables),
        labels=tuple(task.labels or ()),
        output_schema=task.output_schema,
        max_new_tokens=task.max_new_tokens,
        template_language=task.template_language,
        variable_types={
            name: spec.model_dump(mode="json", exclude_defaults=True) for name, spec in task.variables.items()
        },
    )
    return Content(
        kind=kind,
        text=task.prompt,
        contract=contract,
        files={path: hash_bytes(content) for path, content in sorted(files.items())},
    )


def _kind(prompt: PromptRecord) -> Kind:
    if prompt.kind == "text":
        return "text"
    if prompt.adapter is None:
        return "soft"
    return "hybrid" if prompt.num_tokens else "adapter"


def _sources(record: RunRecord) -> tuple[str, ...]:
    parts = () if record.composition is None else record.composition.parts
    start = (record.start_hash,) if record.start_hash else ()
    return (*start, *(part.sha256 for part in parts))


def _parent(library: Library, name: str, prepared: Prepared) -> int | None:
    """The newest version that this one was made from, as far as words and files tell."""
    start = prepared.lineage.config.get("start_from")
    if start is None:
        return library.newest_like(name, kind="text", text=prepared.content.text)
    try:
        source = version_of_run(RunFolder.open(Path(start)))
    except TuningForkError:
        # It may be gone, or be of several tasks; then it is no version of this prompt.
        return None
    return library.newest_like(name, content_hash=source.content.hash)


def _any_model(name: str) -> ModelRecord:
    """Words stand before any model: only a name to begin with, and no hash that would bind them."""
    return ModelRecord(
        name=name,
        weights="",
        tokenizer="",
        chat_template="",
        num_parameters=0,
        dtype="auto",
        device="auto",
        path="",
    )


def _code_version(environment: Mapping[str, str]) -> str:
    commit = environment.get("commit")
    version = environment.get("tuningfork", "")
    return f"{version}+{commit}" if commit else version


def _task_bytes(task: Task) -> bytes:
    """The task file as it stands in a version: without the rows, which lie elsewhere."""
    with TemporaryDirectory() as folder:
        # Written relative to its folder, so the name of the rows is the same wherever that is.
        rows = {"train": str(Path(folder).absolute() / _FORGOTTEN_ROWS), "test": None}
        path = Path(folder).absolute() / TASK_FILE
        save_task(task.model_copy(update={"data": task.data.model_copy(update=rows)}), path)
        return path.read_bytes()


def _json_bytes(record: RunRecord | PromptRecord) -> bytes:
    return record.model_dump_json(indent=2).encode()
