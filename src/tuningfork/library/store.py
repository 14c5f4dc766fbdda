"""The library: prompts of every kind with versions, aliases, evidence and history, in one place."""

from collections.abc import Iterator, Mapping
from copy import copy
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import select, update

from tuningfork.atomic import replacing
from tuningfork.errors import GateError, LibraryError
from tuningfork.events import EventSink, Notice, NullSink
from tuningfork.library import chain, schema
from tuningfork.library.access import Access, RoleAccess, check_reading
from tuningfork.library.actors import Actor, engine_of
from tuningfork.library.aliases import (
    MoveOutcome,
    MoveRequest,
    earlier_number,
    has_passed,
    history,
    judge_move,
    move_alias,
)
from tuningfork.library.artifacts import ArtifactStore, open_artifacts
from tuningfork.library.canonical import hash_bytes, now
from tuningfork.library.catalogue import Catalogue
from tuningfork.library.contents import Content, Lineage, VersionRecord, check_path
from tuningfork.library.database import database_url, lock_rows, open_database, reading, shown_url, writing
from tuningfork.library.diff import diff_versions
from tuningfork.library.differences import VersionDiff
from tuningfork.library.exchange.keys import PublicKey
from tuningfork.library.gates.policy import add_policy, policy_of
from tuningfork.library.governance import Governance
from tuningfork.library.keys import Keys
from tuningfork.library.measured_difference import measured_differences
from tuningfork.library.migrations.upgrade import upgrade
from tuningfork.library.naming import check_alias, check_name, read_reference
from tuningfork.library.people import People
from tuningfork.library.registration import add_registered
from tuningfork.library.trust import end_trust, trust, trusted_keys
from tuningfork.library.versions import (
    find_prompt,
    number_of,
    read_version,
    read_versions,
    version_row,
)

ARTIFACTS_FOLDER = "artifacts"
REVOKED, POLICY_SET = "version revoked", "policy set"
"""Kinds of events."""


class Library(Catalogue, Governance):
    """A library of prompts; every method that writes is one transaction.

    Bytes are written before the rows that name them, so a crash in between leaves bytes that nothing names
    and `collect` removes, never a row whose bytes are missing.
    """

    def __init__(
        self,
        place: str | Path,
        *,
        artifacts: str | Path | None = None,
        access: Access | None = None,
        sink: EventSink | None = None,
    ) -> None:
        """Open the library in the folder or database `place`, made if it is not there.

        `artifacts` is the folder or URL of the bytes, by default beside the database of a folder.

        Raises:
            LibraryError: if it cannot be opened, or was written by a later version of tuningfork.
        """
        url = database_url(place)
        if artifacts is None:
            if url.drivername != "sqlite":
                raise LibraryError(
                    f"{shown_url(url)}: say where artifacts lie: a folder, or a URL like s3://bucket/folder"
                )
            artifacts = Path(str(url.database)).parent / ARTIFACTS_FOLDER
        self.place = shown_url(url)
        self.engine = open_database(url)
        self.artifacts: ArtifactStore = open_artifacts(artifacts)
        self.access: Access = access or RoleAccess()
        self.actor: Actor | None = None
        self._sink = sink or NullSink()
        self._given: dict[str, str] = {}
        try:
            upgrade(self.engine)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()

    @property
    def people(self) -> People:
        """Who may do what; as long as nobody was added, everybody may do everything."""
        return People(self.engine, self.access)

    @property
    def keys(self) -> Keys:
        """By what programs come in."""
        return Keys(self.engine, self.access)

    def acting(self, actor: Actor) -> Self:
        """This library as `actor` may use it: reading is checked too, and events name the actor's key.

        Of this one, which anybody holds who can open its files, only what is written is checked, in the name
        that is claimed. Both share one database; whoever has a key is `library.keys.authenticate(key)`.
        """
        view = copy(self)
        view.engine, view.actor, view._given = engine_of(self.engine, actor), actor, {}
        return view

    def register(
        self,
        name: str,
        content: Content,
        files: Mapping[str, bytes],
        lineage: Lineage,
        *,
        author: str,
        parent: int | None = None,
        note: str = "",
        description: str = "",
    ) -> VersionRecord:
        """Add a version to the prompt `name`, which is made if it is not there; return it.

        The same content with the same lineage as the newest version is that version, not another one.
        `files` are the bytes of `content.files`, by path.

        Raises:
            LibraryError: if a name is none, files are not those of `content`, or nothing can be written.
            AccessError: if `author` may not register here.
        """
        check_name(name)
        if {path: hash_bytes(found) for path, found in files.items()} != content.files:
            raise LibraryError(f"{name}: its files are not those that its content names by hash")
        if self.actor is not None:
            with reading(self.engine) as connection:
                # Told before bytes are written for nothing.
                self.access.check(connection, self.actor.name, "register", name)
        for found in files.values():
            self.artifacts.put(found)
        sizes = {content.files[path]: len(found) for path, found in files.items()}
        with writing(self.engine) as connection:
            # Numbers of versions are given out one by one, and no garbage is collected meanwhile.
            lock_rows(connection)
            self.access.check(connection, author, "register", name)
            registered, is_new = add_registered(
                connection,
                name,
                content,
                lineage,
                sizes=sizes,
                author=author,
                parent=parent,
                note=note,
                description=description,
            )
            for path, sha256 in content.files.items():
                if not self.artifacts.has(sha256):
                    self.artifacts.put(files[path])
        if is_new:
            self._sink.emit(Notice(f"Library   {registered.reference} ({content.kind}) registered"))
        return registered

    def get(self, reference: str) -> VersionRecord:
        """The version that `name`, `name@alias` or `name@3` names now; a bare name means `production`.

        Raises:
            LibraryError: if there is none.
            AccessError: if whoever acts may not read it.
        """
        wanted = read_reference(reference)
        with reading(self.engine) as connection:
            check_reading(connection, self.access, str(wanted))
            prompt = find_prompt(connection, wanted.name)
            row = version_row(connection, prompt, number_of(connection, prompt, wanted))
            version = read_version(connection, prompt, row)
        if self.actor is not None:
            self._given[version.reference] = version.content.hash
        return version

    def versions(self, name: str) -> list[VersionRecord]:
        """All versions of a prompt, the oldest first.

        Raises:
            LibraryError: if there is no such prompt.
        """
        with reading(self.engine) as connection:
            check_reading(connection, self.access, name)
            prompt = find_prompt(connection, name)
            rows = connection.execute(
                select(schema.version)
                .where(schema.version.c.prompt_id == prompt.id)
                .order_by(schema.version.c.number)
            ).all()
            return read_versions(connection, prompt, rows)

    def files(self, version: VersionRecord) -> Iterator[tuple[str, bytes]]:
        """The files of a version with their paths, each checked against its hash.

        Raises:
            LibraryError: if one is missing or damaged.
        """
        for path, sha256 in self._readable(version).content.files.items():
            yield path, self.artifacts.get(sha256)

    def file_sizes(self, version: VersionRecord) -> dict[str, int]:
        """How many bytes each file of a version has, by its path."""
        return super().file_sizes(self._readable(version))

    def check_out(self, version: VersionRecord, folder: Path) -> None:
        """Write the files of a version into `folder`.

        Raises:
            LibraryError: if one is missing or damaged, or its path leads elsewhere.
        """
        for path, content in self.files(version):
            check_path(path)
            with replacing(folder / path) as temporary:
                temporary.write_bytes(content)

    def move_alias(self, request: MoveRequest) -> MoveOutcome:
        """Move an alias as `aliases.move_alias` does, whoever asks and through whatever door.

        Raises:
            GateError: if gates refuse it; the refusal is kept, and the message names each gate and what is
                missing.
            ConflictError: if the alias points elsewhere than expected.
            LibraryError: if prompt, version or alias is none, or the version was revoked.
            AccessError: if the actor may not do this.
        """
        outcome = self.try_move(request)
        if not outcome.moved:
            refusals = "; ".join(f"{result.gate}: {result.reason}" for result in outcome.failed)
            raise GateError(f"{request.name}@{request.number} may not become {request.alias}: {refusals}")
        return outcome

    def try_move(self, request: MoveRequest, *, only_judges: bool = False) -> MoveOutcome:
        """As `move_alias`, but a refusal by gates is an outcome too; or only say what would come of it.

        Raises:
            LibraryError: as `move_alias`, but for a refusal by gates.
        """
        if only_judges:
            with reading(self.engine) as connection:
                return judge_move(connection, self.artifacts, self.access, request)
        with writing(self.engine) as connection:
            return move_alias(connection, self.artifacts, self.access, request)

    def roll_back(
        self, name: str, alias: str, *, actor: str, reason: str = "", to: int | None = None
    ) -> MoveOutcome:
        """Point an alias back to a version that it pointed to before: `to`, or the last one.

        It is checked that the version was not revoked; gates are not asked again.

        Raises:
            LibraryError: if there is no such version.
            AccessError: if the actor may not do this.
        """
        check_alias(alias)
        with writing(self.engine) as connection:
            lock_rows(connection)
            self.access.check(connection, actor, "move", f"{name}@{alias}")
            number = earlier_number(connection, name, alias) if to is None else to
            if not has_passed(connection, name, alias, number):
                raise LibraryError(
                    f"{name}@{number}: was never {alias}, so it cannot be rolled back to; promote it instead"
                )
            request = MoveRequest(name, alias, number, actor, reason, is_rollback=True)
            return move_alias(connection, self.artifacts, self.access, request)

    def history(self, name: str, alias: str | None = None) -> list[chain.LibraryEvent]:
        """Where the aliases of a prompt, or one of them, pointed over time; refusals are in it.

        Raises:
            LibraryError: if there is no such prompt.
        """
        with reading(self.engine) as connection:
            check_reading(connection, self.access, name)
            return history(connection, name, alias)

    def diff(self, before: str, after: str) -> VersionDiff:
        """What the version that `after` names now has other than that which `before` names.

        Raises:
            LibraryError: if there is no such version, or evidence or a file with learned numbers is missing
                or damaged.
            AccessError: if whoever acts may not read one of them.
        """
        old, new = self.get(before), self.get(after)
        sizes = {
            version.content.files[path]: size
            for version in (old, new)
            for path, size in self.file_sizes(version).items()
        }
        found = diff_versions(old, new, sizes=sizes, read=self.artifacts.get)
        measured = measured_differences(
            self.evidence(old.reference, "evaluation"),
            self.evidence(new.reference, "evaluation"),
            partial(self.read_evidence, old.reference),
            partial(self.read_evidence, new.reference),
        )
        return found.model_copy(update={"measured": measured})

    def revoke(self, reference: str, *, actor: str, reason: str) -> VersionRecord:
        """Take a version out of use for good: no alias can move to it any more.

        Raises:
            LibraryError: if there is none, it is in use under an alias, or no reason is given.
            AccessError: if the actor may not do this.
        """
        if not reason.strip():
            raise LibraryError("revoking needs a reason: --reason TEXT")
        wanted = read_reference(reference)
        with writing(self.engine) as connection:
            self.access.check(connection, actor, "move", wanted.name)
            # Nobody may point an alias to it between the look at its aliases and the end.
            lock_rows(connection)
            prompt = find_prompt(connection, wanted.name)
            row = version_row(connection, prompt, number_of(connection, prompt, wanted))
            version = read_version(connection, prompt, row)
            if version.aliases:
                raise LibraryError(
                    f"{version.reference}: {', '.join(version.aliases)} points to it; move that first, for "
                    f"instance with: tuningfork library rollback {version.prompt}"
                )
            if version.revoked is not None:
                return version
            when = now()
            connection.execute(
                update(schema.version).where(schema.version.c.id == row.id).values(revoked=when)
            )
            payload = {"prompt": version.prompt, "number": version.number, "reason": reason, "revoked": when}
            chain.append_event(connection, REVOKED, actor, payload, prompt_id=prompt.id)
            return version.model_copy(update={"revoked": when})

    def policy(self, name: str | None, alias: str) -> Mapping[str, Any]:
        """The gates that guard an alias of a prompt or, without a name, of all, with their settings.

        Raises:
            LibraryError: if there is no such prompt.
        """
        with reading(self.engine) as connection:
            check_reading(connection, self.access, name or "")
            prompt_id = None if name is None else find_prompt(connection, name).id
            return policy_of(connection, prompt_id, alias)

    def set_policy(self, name: str | None, alias: str, gates: Mapping[str, Any], *, actor: str) -> None:
        """Have `gates` guard an alias from now on: of one prompt or, without a name, of all.

        Raises:
            LibraryError: if a gate or a setting is unknown.
            AccessError: if the actor may not do this.
        """
        check_alias(alias)
        with writing(self.engine) as connection:
            self.access.check(connection, actor, "administer", name or "")
            lock_rows(connection)
            prompt_id = None if name is None else find_prompt(connection, name).id
            add_policy(connection, prompt_id, alias, gates, author=actor)
            payload = {"prompt": name, "alias": alias, "gates": dict(gates)}
            chain.append_event(connection, POLICY_SET, actor, payload, prompt_id=prompt_id)

    def head(self) -> str:
        """The hash of the last event, to be kept elsewhere as proof of all that happened so far."""
        with reading(self.engine) as connection:
            check_reading(connection, self.access, "")
            return chain.head(connection)

    def _readable(self, version: VersionRecord) -> VersionRecord:
        """`version` as it was given to whoever acts; else that of its name: anybody can write down a hash."""
        if self.actor is None or self._given.get(version.reference) == version.content.hash:
            return version
        return self.get(version.reference)

    def trusted_keys(self) -> list[PublicKey]:
        """Whose signatures on bundles count here, by their names."""
        with reading(self.engine) as connection:
            check_reading(connection, self.access, "")
            return sorted(trusted_keys(connection).values(), key=lambda key: (key.name, key.text))

    def trust(self, key: PublicKey, *, actor: str) -> None:
        """Have signatures of `key` count from now on, under its name.

        Raises:
            LibraryError: if it has no name.
            AccessError: if the actor may not do this.
        """
        with writing(self.engine) as connection:
            self.access.check(connection, actor, "administer", "")
            trust(connection, key, actor=actor)

    def end_trust(self, key: PublicKey, *, actor: str) -> None:
        """Have signatures of `key` no longer count; what was imported with it stays.

        Raises:
            LibraryError: if it was not trusted.
            AccessError: if the actor may not do this.
        """
        with writing(self.engine) as connection:
            self.access.check(connection, actor, "administer", "")
            end_trust(connection, key, actor=actor)
