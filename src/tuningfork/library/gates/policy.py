"""Which gates guard which alias, and what they say of a move."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, insert, or_, select

from tuningfork.errors import LibraryError
from tuningfork.library import schema
from tuningfork.library.canonical import now
from tuningfork.library.gates.contract import ContractGate
from tuningfork.library.gates.gate import Gate, GateResult, Move, Settings
from tuningfork.library.gates.known_data import KnownDataGate
from tuningfork.library.naming import PRODUCTION

GATES: dict[str, Gate] = {gate.name: gate for gate in (ContractGate(), KnownDataGate())}
DEFAULT_POLICIES: Mapping[str, Mapping[str, Settings]] = {
    PRODUCTION: {"contract": {}, "known_data": {}},
}
"""Gates of aliases that nobody has set a policy for; other aliases have none."""


def policy_of(connection: Connection, prompt_id: int | None, alias: str) -> Mapping[str, Settings]:
    """The gates of an alias with their settings: its prompt's own, else that of all prompts, else ours."""
    found = connection.execute(
        select(schema.policy.c.gates)
        .where(
            schema.policy.c.alias == alias,
            or_(schema.policy.c.prompt_id == prompt_id, schema.policy.c.prompt_id.is_(None)),
        )
        .order_by(schema.policy.c.prompt_id.is_(None), schema.policy.c.id.desc())
        .limit(1)
    ).scalar()
    return DEFAULT_POLICIES.get(alias, {}) if found is None else found


def add_policy(
    connection: Connection, prompt_id: int | None, alias: str, gates: Mapping[str, Any], *, author: str
) -> None:
    """Have `gates` guard `alias` from now on, of one prompt or, without one, of all.

    Raises:
        LibraryError: if a gate is unknown, or a setting is.
    """
    for name, settings in gates.items():
        gate = _gate(name)
        if not isinstance(settings, Mapping):
            raise LibraryError(f"gate {name}: its settings are a mapping, found {settings!r:.60}")
        gate.check_settings(settings)
    connection.execute(
        insert(schema.policy).values(
            prompt_id=prompt_id, alias=alias, gates=dict(gates), created=now(), author=author
        )
    )


def judge(move: Move, policy: Mapping[str, Settings]) -> list[GateResult]:
    """What every gate of `policy` says; one that is unknown here, or that fails itself, does not pass."""
    results = []
    for name, settings in policy.items():
        if name not in GATES:
            results.append(GateResult(name, False, "this gate is unknown to this version of tuningfork"))
            continue
        try:
            results.append(GATES[name].judge(move, settings))
        except LibraryError as error:
            results.append(GateResult(name, False, f"cannot be judged: {error}"))
    return results


def _gate(name: str) -> Gate:
    if name not in GATES:
        raise LibraryError(f"{name!r:.40}: no such gate; there are {', '.join(GATES)}")
    return GATES[name]
