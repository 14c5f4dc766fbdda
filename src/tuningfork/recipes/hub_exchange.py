"""Versions to and from the Hugging Face Hub, as a bundle or as a PEFT folder."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tuningfork.errors import FormatError
from tuningfork.library.bundle import export_bundle, import_bundle
from tuningfork.library.bundle_rows import ImportedBundle
from tuningfork.library.contents import VersionRecord
from tuningfork.library.exchange.hub import BUNDLE_NAME, HubFiles, HubRepository
from tuningfork.library.exchange.keys import PublicKey, SigningKey
from tuningfork.library.formats.peft_config import SETTINGS, WEIGHTS
from tuningfork.library.store import Library
from tuningfork.recipes.peft_folder import FolderSource, export_peft_folder, import_peft_folder
from tuningfork.tasks.task import Task


def push_bundle(
    library: Library,
    references: Sequence[str],
    repository: HubRepository,
    *,
    actor: str,
    key: SigningKey | None,
    is_public: bool = False,
    dry_run: bool = False,
) -> HubFiles:
    """Upload versions as one bundle, signed with `key`.

    Raises:
        LibraryError: if there is no such version, or a file of it is damaged.
        RemoteError: if the Hub cannot be asked, or refuses it.
        ConflictError: if somebody else committed meanwhile.
        AccessError: if `actor` may not read one of them.
    """
    with TemporaryDirectory() as folder:
        export_bundle(library, references, Path(folder) / BUNDLE_NAME, actor=actor, key=key)
        message = f"Bundle of {', '.join(references)}"
        return repository.upload(Path(folder), message=message, is_public=is_public, dry_run=dry_run)


def push_peft(
    library: Library,
    reference: str,
    repository: HubRepository,
    *,
    model: str | None = None,
    is_public: bool = False,
    dry_run: bool = False,
) -> HubFiles:
    """Upload the prompt of a version as a PEFT folder.

    Raises:
        LibraryError: if there is no such version, it was revoked, or a file of it is damaged.
        FormatError: if PEFT does not hold such a prompt.
        ModelError: if the base model is not the one that the prompt is for.
        RemoteError: if the Hub cannot be asked, or refuses it.
        ConflictError: if somebody else committed meanwhile.
    """
    with TemporaryDirectory() as folder:
        version = export_peft_folder(library, reference, Path(folder) / "out", model=model)
        message = f"PEFT folder of {version.reference}"
        return repository.upload(Path(folder) / "out", message=message, is_public=is_public, dry_run=dry_run)


def pull_bundle(
    library: Library,
    repository: HubRepository,
    files: HubFiles,
    *,
    actor: str,
    name: str | None = None,
    also_trusted: PublicKey | None = None,
    allows_unsigned: bool = False,
    only_checks: bool = False,
) -> ImportedBundle:
    """Import the bundle among `files`, as `library.bundle.import_bundle` does.

    Raises:
        RemoteError: if the Hub cannot be asked.
        FormatError: if there is no bundle, or it is forged, changed or truncated.
        LibraryError: if whoever signed it is not trusted, or the library cannot be written.
        AccessError: if `actor` may not register there, or may not say whom to trust.
    """
    _check_there(files, BUNDLE_NAME)
    wanted = HubFiles(files.repository, files.commit, {BUNDLE_NAME: files.sizes[BUNDLE_NAME]})
    with TemporaryDirectory() as folder:
        repository.download(wanted, Path(folder))
        return import_bundle(
            library,
            Path(folder) / BUNDLE_NAME,
            actor=actor,
            name=name,
            also_trusted=also_trusted,
            allows_unsigned=allows_unsigned,
            only_checks=only_checks,
        )


def pull_peft(
    library: Library,
    repository: HubRepository,
    files: HubFiles,
    task: Task,
    *,
    model: str,
    author: str,
    name: str | None = None,
) -> VersionRecord:
    """Register the PEFT folder among `files`, as `peft_folder.import_peft_folder` does.

    Raises:
        RemoteError: if the Hub cannot be asked.
        FormatError: if there is no soft prompt in safetensors, or it does not fit the model or the task.
        ModelError: if the model cannot be loaded.
        LibraryError: if the library cannot be written.
        AccessError: if `author` may not register there.
    """
    _check_there(files, SETTINGS)
    _check_there(files, WEIGHTS)
    wanted = {name: size for name, size in files.sizes.items() if name in (SETTINGS, WEIGHTS)}
    with TemporaryDirectory() as folder:
        repository.download(HubFiles(files.repository, files.commit, wanted), Path(folder))
        source = FolderSource(
            Path(folder), place=repository.place, reference=files.reference, kind=repository.kind
        )
        return import_peft_folder(library, source, task, model=model, author=author, name=name)


def _check_there(files: HubFiles, name: str) -> None:
    if name not in files.sizes:
        found = ", ".join(sorted(files.sizes)) or "no file of a prompt"
        raise FormatError(f"{files.reference}: has no {name}; it has {found}")
