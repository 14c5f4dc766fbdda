"""Text prompts from a registry of others as versions of our own, which run like any written here."""

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from tuningfork.errors import AccessError, FormatError, LibraryError, TaskError
from tuningfork.library.contents import VersionRecord
from tuningfork.library.exchange.foreign import TASK_FILE, read_task
from tuningfork.library.exchange.registry import Pulled, Registry
from tuningfork.library.naming import check_name, name_from
from tuningfork.library.store import Library
from tuningfork.recipes.register import version_of_text
from tuningfork.tasks.task import Task, TaskData
from tuningfork.tasks.template import PromptTemplate

_ROWS, _TARGET, _MESSAGES = "rows.jsonl", "answer", "messages"
_METRIC = "token_f1"


@dataclass(frozen=True, slots=True)
class PulledVersion:
    """What became of a version from a registry."""

    pulled: Pulled
    name: str
    """Of the prompt here."""
    version: VersionRecord | None
    """None in a dry run of what is not here yet."""
    is_new: bool


def pull_prompt(
    library: Library,
    registry: Registry,
    there: str,
    which: str,
    *,
    author: str,
    name: str | None = None,
    task: Task | None = None,
    model: str = "bundled",
    as_text: bool = False,
    dry_run: bool = False,
) -> PulledVersion:
    """Register version `which` of the prompt `there` as the next version of the prompt `name`.

    It answers like `task`; without one, like the newest version of the prompt here, or else it generates text
    from its variables or, if it has none, in conversations. What was pulled before, or was pushed from here,
    is not registered again.

    Raises:
        RemoteError: if the registry cannot be asked.
        FormatError: if it is no prompt that can be read here, or does not fit the task.
        LibraryError: if there is none, or the library cannot be written.
        AccessError: if `author` may not register there.
    """
    target = name or name_from(there)
    check_name(target)
    pulled = registry.pull(there, which, as_text=as_text)
    versions = _versions(library, target)
    known = _known(versions, pulled)
    if known is not None:
        return PulledVersion(pulled, target, known, is_new=False)
    words = _task_for(pulled, target, task or _newest_task(library, versions))
    if dry_run:
        return PulledVersion(pulled, target, None, is_new=True)
    prepared = version_of_text(words, model=model)
    version = library.register(
        target,
        prepared.content,
        prepared.files,
        prepared.lineage.model_copy(update={"imported": pulled.origin}),
        author=author,
        parent=_parent(versions, pulled),
        note=pulled.message,
    )
    if pulled.tags:
        library.tag(version.reference, *pulled.tags, actor=author)
    return PulledVersion(pulled, target, version, is_new=True)


def _versions(library: Library, name: str) -> list[VersionRecord]:
    try:
        return library.versions(name)
    except AccessError:
        raise
    except LibraryError:
        return []  # there is no such prompt yet


def _known(versions: list[VersionRecord], pulled: Pulled) -> VersionRecord | None:
    """The version here that is this one: pulled before, or pushed from here and not changed since."""
    for version in reversed(versions):
        if _place_of(version) == (pulled.origin.kind, pulled.origin.place, pulled.origin.reference):
            return version
        is_its_content = version.content_hash == pulled.origin.content_hash
        if is_its_content and _words_of(version) == pulled.words.template:
            return version
    return None


def _parent(versions: list[VersionRecord], pulled: Pulled) -> int | None:
    """The newest version here that came from the same prompt there."""
    wanted = (pulled.origin.kind, pulled.origin.place, pulled.name)
    for version in reversed(versions):
        kind, place, reference = _place_of(version)
        if (kind, place, reference.rpartition("/")[0]) == wanted:
            return version.number
    return None


def _place_of(version: VersionRecord) -> tuple[str, str, str]:
    """Where it was before it came here; nowhere for what was made here."""
    imported = version.lineage.imported
    return ("", "", "") if imported is None else (imported.kind, imported.place, imported.reference)


def _words_of(version: VersionRecord) -> PromptTemplate | None:
    """Its words as another registry may have them; None for a template that it could not have been given."""
    content = version.content
    if content.contract.template_language != "simple":
        return None
    return PromptTemplate(content.text, variables=content.contract.variables).without_answer()


def _newest_task(library: Library, versions: list[VersionRecord]) -> Task | None:
    """The task of the newest version that has one."""
    for version in reversed(versions):
        if sha256 := version.content.files.get(TASK_FILE):
            return read_task(library.artifacts.get(sha256))
    return None


def _task_for(pulled: Pulled, name: str, task: Task | None) -> Task:
    template = pulled.words.template
    if task is None:
        data = (
            TaskData(train=_ROWS, inputs={each: each for each in template.variables}, target=_TARGET)
            if template.variables
            else TaskData(train=_ROWS, messages=_MESSAGES)
        )
        fields: dict[str, Any] = {"name": name, "type": "generation", "data": data, "metric": _METRIC}
    else:
        fields = {field: getattr(task, field) for field in task.model_fields_set}
    try:
        return Task(**(fields | {"prompt": template.text, "template_language": "simple"}))
    except (TaskError, ValidationError) as error:
        raise FormatError(
            f"{pulled.origin.reference}: its words do not fit the task of {name}: {_in_short(error)}; give "
            "another task (--task FILE) or another name (--name)"
        ) from error


def _in_short(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return str(error.errors()[0]["msg"])
    return str(error)
