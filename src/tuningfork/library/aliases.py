"""Names that move: the one function that moves them, what guards it, and where they pointed before."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from tuningfork.errors import ConflictError, LibraryError
from tuningfork.library import schema
from tuningfork.library.access import Access
from tuningfork.library.artifacts import ArtifactStore
from tuningfork.library.canonical import now
from tuningfork.library.chain import LibraryEvent, append_event, events
from tuningfork.library.database import lock_rows
from tuningfork.library.gates.gate import GateResult, Move
from tuningfork.library.gates.policy import judge, policy_of
from tuningfork.library.naming import check_alias
from tuningfork.library.versions import find_prompt, read_version, version_row

MOVED, REMOVED, REFUSED, ROLLED_BACK = "alias moved", "alias removed", "alias refused", "alias rolled back"


@dataclass(frozen=True, slots=True)
class MoveRequest:
    """What is asked of an alias."""

    name: str
    """Of the prompt."""
    alias: str
    number: int | None
    """The version to point to; None removes the alias."""
    actor: str
    reason: str = ""
    expected_number: int | None = None
    """What the alias must point to now for the move to be made; 0 if it must not be there."""
    overrides_gates: bool = False
    """Whether failed gates do not count; needs a role and a reason, and is written down."""
    is_rollback: bool = False
    """Whether it goes back to what has passed before, which is not judged again."""


@dataclass(frozen=True, slots=True)
class MoveOutcome:
    """What became of a request."""

    request: MoveRequest
    moved: bool
    before: int | None
    after: int | None
    results: tuple[GateResult, ...]
    event: LibraryEvent | None
    """None where nothing had to change."""

    @property
    def failed(self) -> list[GateResult]:
        """The gates that did not pass."""
        return [result for result in self.results if not result.passed]


def move_alias(
    connection: Connection, artifacts: ArtifactStore, access: Access, request: MoveRequest
) -> MoveOutcome:
    """Move an alias, or say which gates refuse it; the only writer of aliases and of their events.

    A refusal is an outcome, not an error, so that the transaction keeps the record of it.

    Raises:
        LibraryError: if prompt, version or alias is none, or the version was revoked.
        ConflictError: if the alias points elsewhere than expected.
        AccessError: if the actor may not do this.
    """
    check_alias(request.alias)
    # Everything from here on is decided by what no other writer changes meanwhile.
    lock_rows(connection)
    prompt, current, before = _checked(connection, access, request)
    if request.number == before:
        return MoveOutcome(request, True, before, before, (), None)
    results = _judged(connection, artifacts, prompt, request, before)
    _keep_results(connection, prompt, request, before, results)
    passed = all(result.passed for result in results)
    if not passed and not request.overrides_gates:
        event = append_event(
            connection,
            REFUSED,
            request.actor,
            _payload(request, before, results),
            prompt_id=prompt.id,
        )
        return MoveOutcome(request, False, before, before, results, event)
    _write(connection, prompt, request, current)
    kind = REMOVED if request.number is None else ROLLED_BACK if request.is_rollback else MOVED
    payload = _payload(request, before, results)
    event = append_event(connection, kind, request.actor, payload, prompt_id=prompt.id)
    return MoveOutcome(request, True, before, request.number, results, event)


def judge_move(
    connection: Connection, artifacts: ArtifactStore, access: Access, request: MoveRequest
) -> MoveOutcome:
    """What `move_alias` would come to now; nothing is written.

    Raises:
        LibraryError: as `move_alias`, of the same kinds.
    """
    check_alias(request.alias)
    prompt, _, before = _checked(connection, access, request)
    if request.number == before:
        return MoveOutcome(request, True, before, before, (), None)
    results = _judged(connection, artifacts, prompt, request, before)
    moves = request.overrides_gates or all(result.passed for result in results)
    return MoveOutcome(request, moves, before, request.number if moves else before, results, None)


def history(connection: Connection, name: str, alias: str | None = None) -> list[LibraryEvent]:
    """Where the aliases of a prompt, or one of them, pointed over time; refusals are in it.

    Raises:
        LibraryError: if there is no such prompt.
    """
    prompt = find_prompt(connection, name)
    kinds = (MOVED, REMOVED, REFUSED, ROLLED_BACK)
    return [
        event
        for event in events(connection, prompt_id=prompt.id)
        if event.kind in kinds and alias in (None, event.payload["alias"])
    ]


def earlier_number(connection: Connection, name: str, alias: str) -> int:
    """The version that `alias` can be rolled back to: the last it pointed to before, that is not revoked.

    Raises:
        LibraryError: if there is none.
    """
    prompt = find_prompt(connection, name)
    moves = [e for e in history(connection, name, alias) if e.kind != REFUSED]
    current = moves[-1].payload["after"] if moves else None
    for event in reversed(moves):
        number = event.payload["before"]
        if number not in (None, current) and version_row(connection, prompt, number).revoked is None:
            return int(number)
    raise LibraryError(f"{name}@{alias}: it never pointed to another version that could still be used")


def has_passed(connection: Connection, name: str, alias: str, number: int) -> bool:
    """Whether `alias` has pointed to this version before."""
    moves = [e for e in history(connection, name, alias) if e.kind != REFUSED]
    return any(number == event.payload["after"] for event in moves)


def _alias_row(connection: Connection, prompt: Row[Any], alias: str) -> Row[Any] | None:
    return connection.execute(
        select(schema.alias).where(schema.alias.c.prompt_id == prompt.id, schema.alias.c.name == alias)
    ).first()


def _checked(
    connection: Connection, access: Access, request: MoveRequest
) -> tuple[Row[Any], Row[Any] | None, int | None]:
    """The prompt, the row of its alias and where that points, if this may be asked of it."""
    place = f"{request.name}@{request.alias}"
    access.check(connection, request.actor, "move", place)
    prompt = find_prompt(connection, request.name)
    if request.number is None and policy_of(connection, prompt.id, request.alias):
        # What takes the place of nothing is compared with nothing: to remove is to go around the gates.
        access.check(connection, request.actor, "override", place)
    if request.overrides_gates:
        access.check(connection, request.actor, "override", place)
        if not request.reason.strip():
            raise LibraryError("overriding gates needs a reason: --reason TEXT")
    current = _alias_row(connection, prompt, request.alias)
    before = None if current is None else current.number
    _check_expected(request, before)
    return prompt, current, before


def _check_expected(request: MoveRequest, before: int | None) -> None:
    if request.expected_number is not None and request.expected_number != (before or 0):
        found = "nothing" if before is None else f"{request.name}@{before}"
        raise ConflictError(
            f"{request.name}@{request.alias}: expected to point to "
            f"{f'{request.name}@{request.expected_number}' if request.expected_number else 'nothing'}, found "
            f"{found}; somebody moved it meanwhile: look at its history, then decide again"
        )


def _judged(
    connection: Connection,
    artifacts: ArtifactStore,
    prompt: Row[Any],
    request: MoveRequest,
    before: int | None,
) -> tuple[GateResult, ...]:
    if request.number is None:
        return ()
    row = version_row(connection, prompt, request.number)
    if row.revoked is not None:
        raise LibraryError(
            f"{request.name}@{request.number}: was revoked at {row.revoked}; choose another version"
        )
    if request.is_rollback:
        return ()
    current = None if before is None else version_row(connection, prompt, before)
    move = Move(
        connection=connection,
        artifacts=artifacts,
        alias=request.alias,
        candidate=read_version(connection, prompt, row),
        candidate_id=row.id,
        current=None if current is None else read_version(connection, prompt, current),
        current_id=None if current is None else current.id,
        actor=request.actor,
    )
    return tuple(judge(move, policy_of(connection, prompt.id, request.alias)))


def _keep_results(
    connection: Connection,
    prompt: Row[Any],
    request: MoveRequest,
    before: int | None,
    results: Sequence[GateResult],
) -> None:
    """Write down what gates said; where none was asked there is nothing to keep."""
    if request.number is None or request.is_rollback:
        return
    connection.execute(
        insert(schema.gate_run).values(
            version_id=version_row(connection, prompt, request.number).id,
            alias=request.alias,
            against_number=before,
            passed=all(result.passed for result in results),
            results=_as_json(results),
            actor=request.actor,
            time=now(),
        )
    )


def _write(connection: Connection, prompt: Row[Any], request: MoveRequest, current: Row[Any] | None) -> None:
    if current is None:
        connection.execute(
            insert(schema.alias).values(
                prompt_id=prompt.id, name=request.alias, number=request.number, generation=1, moved=now()
            )
        )
        return
    connection.execute(
        update(schema.alias)
        .where(schema.alias.c.prompt_id == prompt.id, schema.alias.c.name == request.alias)
        .values(number=request.number, generation=current.generation + 1, moved=now())
    )


def _payload(request: MoveRequest, before: int | None, results: Sequence[GateResult]) -> Mapping[str, Any]:
    return {
        "prompt": request.name,
        "alias": request.alias,
        "before": before,
        "after": request.number,
        "reason": request.reason,
        "overridden": [r.gate for r in results if not r.passed] if request.overrides_gates else [],
        "gates": _as_json(results),
    }


def _as_json(results: Sequence[GateResult]) -> list[dict[str, Any]]:
    return [asdict(result) for result in results]
