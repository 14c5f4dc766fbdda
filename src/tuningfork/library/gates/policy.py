"""Which gates guard which alias, and what they say of a move."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, insert, or_, select
from sqlalchemy.exc import DBAPIError

from tuningfork.errors import GateError, LibraryError, TuningForkError
from tuningfork.library import schema
from tuningfork.library.canonical import now
from tuningfork.library.gates.approvals import ApprovalsGate
from tuningfork.library.gates.bias import BiasGate
from tuningfork.library.gates.contract import ContractGate
from tuningfork.library.gates.cost import CostGate
from tuningfork.library.gates.critical_cases import CriticalCasesGate
from tuningfork.library.gates.evaluated import EvaluatedGate
from tuningfork.library.gates.gate import Gate, GateResult, Move, Settings
from tuningfork.library.gates.guard import GuardGate
from tuningfork.library.gates.known_data import KnownDataGate
from tuningfork.library.gates.no_worse import NoWorseGate
from tuningfork.library.gates.robustness import RobustnessGate
from tuningfork.library.gates.servable import ServableGate
from tuningfork.library.naming import PRODUCTION

_ALL: tuple[Gate, ...] = (
    ContractGate(),
    KnownDataGate(),
    EvaluatedGate(),
    NoWorseGate(),
    CriticalCasesGate(),
    RobustnessGate(),
    BiasGate(),
    GuardGate(),
    ApprovalsGate(),
    CostGate(),
    ServableGate(),
)
GATES: dict[str, Gate] = {gate.name: gate for gate in _ALL}
DEFAULT_POLICIES: Mapping[str, Mapping[str, Settings]] = {
    PRODUCTION: {"contract": {}, "known_data": {}, "evaluated": {}, "no_worse": {}, "critical_cases": {}},
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
    return [_judged(move, name, settings) for name, settings in policy.items()]


def _judged(move: Move, name: str, settings: Settings) -> GateResult:
    if name not in GATES:
        return GateResult(name, False, "this gate is unknown to this version of tuningfork")
    try:
        # What was accepted once may mean nothing to this version.
        GATES[name].check_settings(settings)
        found = GATES[name].judge(move, settings)
    except DBAPIError:
        # The transaction is lost, and with it the move.
        raise
    except GateError as error:
        return GateResult(name, False, str(error))
    except TuningForkError as error:
        return GateResult(name, False, f"cannot be judged: {error}")
    except Exception as error:
        # Whatever a gate stumbles over, it has not passed.
        return GateResult(name, False, f"cannot be judged: {type(error).__name__}: {error}")
    figures = {name: value for name, value in (found.figures or {}).items() if math.isfinite(value)}
    return replace(found, figures=figures or None)


def _gate(name: str) -> Gate:
    if name not in GATES:
        raise LibraryError(f"{name!r:.40}: no such gate; there are {', '.join(GATES)}")
    return GATES[name]
