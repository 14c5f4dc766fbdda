"""What `push` and `pull` do with the Hugging Face Hub."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuningfork.errors import LibraryError

if TYPE_CHECKING:
    from tuningfork.library.bundle_rows import ImportedBundle
    from tuningfork.library.store import Library
    from tuningfork.tasks.task import Task

BUNDLE, PEFT = "bundle", "peft"


@dataclass(frozen=True, slots=True)
class HubPush:
    """A version that is to go to a repository."""

    repository: str
    form: str
    """`bundle` or `peft`."""
    key: Path | None
    unsigned: bool
    public: bool
    who: str
    dry_run: bool

    def __post_init__(self) -> None:
        if self.form == BUNDLE and (self.key is None) != self.unsigned:
            raise LibraryError("sign the bundle with --key FILE, or say --unsigned")
        if self.form == PEFT and (self.key is not None or self.unsigned):
            raise LibraryError("--key and --unsigned are of --form bundle; a PEFT folder has no signature")

    def run(self, library: "Library", version: str) -> dict[str, Any]:
        """Send it; what became of it."""
        from tuningfork.library.exchange.hub import HubRepository
        from tuningfork.library.exchange.keys import read_signing_key
        from tuningfork.recipes.hub_exchange import push_bundle, push_peft

        there = HubRepository(self.repository)
        reference = library.get(version).reference
        public, dry_run = self.public, self.dry_run
        if self.form == BUNDLE:
            key = None if self.key is None else read_signing_key(self.key)
            sent = push_bundle(
                library, [reference], there, actor=self.who, key=key, is_public=public, dry_run=dry_run
            )
        else:
            sent = push_peft(library, reference, there, is_public=public, dry_run=dry_run)
        sizes = dict(sent.sizes)
        return {"version": reference, "reference": sent.reference, "is_new": True, "files": sizes}


@dataclass(frozen=True, slots=True)
class HubPull:
    """What is wanted of a repository."""

    repository: str
    """With its revision behind an @, or the main branch."""
    task: "Task | None"
    model: str
    who: str
    name: str | None
    trust: str | None
    allows_unsigned: bool
    dry_run: bool

    def run(self, library: "Library") -> "tuple[dict[str, Any], ImportedBundle | None]":
        """Import the bundle there or, with a task, the PEFT folder; what came of it."""
        from tuningfork.library.exchange.hub import BUNDLE_NAME, HubRepository, split_repository
        from tuningfork.library.exchange.keys import read_public_key
        from tuningfork.recipes.hub_exchange import pull_bundle, pull_peft

        name, revision = split_repository(self.repository)
        there = HubRepository(name)
        files = there.files(revision)
        described = {"from": files.reference, "files": dict(files.sizes), "dry_run": self.dry_run}
        if BUNDLE_NAME in files.sizes:
            bundle = pull_bundle(
                library,
                there,
                files,
                actor=self.who,
                name=self.name,
                also_trusted=None if self.trust is None else read_public_key(self.trust),
                allows_unsigned=self.allows_unsigned,
                only_checks=self.dry_run,
            )
            return described, bundle
        if self.task is None:
            raise LibraryError(f"{files.reference}: has no bundle; a PEFT folder needs a task: --task FILE")
        if self.dry_run:
            return described | {"reference": None}, None
        made = pull_peft(library, there, files, self.task, model=self.model, author=self.who, name=self.name)
        return described | {"reference": made.reference}, None
