"""Versions out of a library as PEFT folders, and PEFT folders into one as versions."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tuningfork.data.hashing import hash_file
from tuningfork.errors import FormatError
from tuningfork.library.contents import ImportOrigin, VersionRecord
from tuningfork.library.formats.peft_config import SETTINGS, WEIGHTS
from tuningfork.library.naming import name_from
from tuningfork.library.store import Library
from tuningfork.recipes.open_version import open_version
from tuningfork.recipes.register import version_of_run
from tuningfork.recipes.transfer import export_run, import_prompt
from tuningfork.tasks.task import Task

PEFT = "peft"


@dataclass(frozen=True, slots=True)
class FolderSource:
    """Where a PEFT folder lies, and where it was before."""

    folder: Path
    place: str = ""
    """Address of the server it is from; empty for a folder on this machine."""
    reference: str = ""
    """What it is called there, down to the commit; by default the path of the folder."""
    kind: str = PEFT


def export_peft_folder(
    library: Library,
    reference: str,
    output: Path,
    *,
    model: str | None = None,
    peft_type: str | None = None,
) -> VersionRecord:
    """Write the prompt of the version that `reference` names to the folder `output`, for PEFT.

    Raises:
        LibraryError: if there is no such version, it was revoked, or a file of it is damaged.
        FormatError: if PEFT does not hold such a prompt.
        ModelError: if the base model is not the one that the prompt is for.
    """
    version = library.get(reference)
    if version.content.kind == "text":
        raise FormatError(
            f"{version.reference}: is words, and PEFT holds soft prompts and adapters; use a bundle, or push "
            "it to a registry of text prompts"
        )
    run = open_version(library, version.reference)
    export_run(run.path, output, model=model, format="peft", peft_type=peft_type)
    return version


def import_peft_folder(
    library: Library,
    source: FolderSource,
    task: Task,
    *,
    model: str,
    author: str,
    name: str | None = None,
    task_index: int | None = None,
) -> VersionRecord:
    """Register the prompt in a PEFT folder as the next version of `name`, by default that of the task.

    Only tensors in safetensors are read. What is doubtful about the prompt is kept in its lineage.

    Raises:
        FormatError: if there is no soft prompt in safetensors, or it does not fit the model or the task.
        ModelError: if the model cannot be loaded.
        LibraryError: if the library cannot be written.
        AccessError: if `author` may not register there.
    """
    weights = source.folder / WEIGHTS
    if not (source.folder / SETTINGS).is_file() or not weights.is_file():
        raise FormatError(
            f"{source.folder}: expected {SETTINGS} and {WEIGHTS}; tensors in other files, such as "
            "adapter_model.bin, are not read"
        )
    with TemporaryDirectory() as runs:
        made = import_prompt(
            source.folder, task, model=model, runs_folder=Path(runs), format="peft", task_index=task_index
        )
        prepared = version_of_run(made.folder)
        origin = ImportOrigin(
            kind=source.kind,
            place=source.place,
            reference=source.reference or str(source.folder.resolve()),
            content_hash=hash_file(weights),
            notes=made.warnings,
        )
        # The run was only a way in, and is gone.
        lineage = prepared.lineage.model_copy(update={"run": "", "imported": origin})
        return library.register(
            name or name_from(task.name), prepared.content, prepared.files, lineage, author=author
        )
