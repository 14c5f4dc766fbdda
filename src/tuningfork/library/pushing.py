"""Versions out of a library into a registry of text prompts, with an event that says so."""

from collections.abc import Sequence

from tuningfork.errors import LibraryError
from tuningfork.library.annotations import tags_of
from tuningfork.library.chain import append_event
from tuningfork.library.contents import VersionRecord
from tuningfork.library.database import reading, writing
from tuningfork.library.exchange.registry import Push, Pushed, Registry
from tuningfork.library.naming import read_reference
from tuningfork.library.store import Library
from tuningfork.library.versions import find_prompt

PUSHED = "version pushed"


def push_version(
    library: Library,
    registry: Registry,
    reference: str,
    name: str,
    *,
    actor: str,
    aliases: Sequence[str] = (),
    overrides: bool = False,
    dry_run: bool = False,
) -> tuple[VersionRecord, Pushed]:
    """Add the version that `reference` names to the prompt `name` of `registry`, behind what is known here.

    Raises:
        LibraryError: if there is no such version, or it was revoked.
        FormatError: if the registry cannot hold it.
        ConflictError: if somebody else made the newest version there.
        RemoteError: if the registry cannot be asked, or refuses it.
        AccessError: if `actor` may not send it away.
    """
    wanted = read_reference(reference)
    with reading(library.engine) as connection:
        library.access.check(connection, actor, "register", wanted.name)
    version = library.get(reference)
    if version.revoked is not None:
        raise LibraryError(f"{version.reference}: was revoked at {version.revoked[:16]}, so it stays here")
    with reading(library.engine) as connection:
        prompt = find_prompt(connection, version.prompt)
        tags = {*tags_of(connection, prompt.id), *tags_of(connection, prompt.id, version.number)}
    versions = library.versions(version.prompt)
    origins = [each.lineage.imported for each in versions if each.lineage.imported is not None]
    push = Push(
        version=version,
        name=name,
        tags=tuple(sorted(tags)),
        aliases=tuple(aliases),
        known_hashes=frozenset(each.content_hash for each in versions),
        known_references=frozenset(
            origin.reference
            for origin in origins
            if (origin.kind, origin.place) == (registry.kind, registry.place)
        ),
        overrides=overrides,
    )
    pushed = registry.push(push, dry_run=dry_run)
    if pushed.is_new and not dry_run:
        payload = {
            "prompt": version.prompt,
            "number": version.number,
            "content_hash": version.content_hash,
            "registry": registry.kind,
            "place": registry.place,
            "reference": pushed.reference,
            "aliases": list(aliases),
        }
        with writing(library.engine) as connection:
            append_event(connection, PUSHED, actor, payload, prompt_id=prompt.id)
    return version, pushed
