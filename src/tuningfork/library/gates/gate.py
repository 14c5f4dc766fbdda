"""What a gate is, and what it is asked about."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Connection

from tuningfork.library.artifacts import ArtifactStore
from tuningfork.library.contents import VersionRecord

Settings = Mapping[str, Any]
"""What a policy says of one gate, such as `{"margin": 0.02}`."""


@dataclass(frozen=True, slots=True)
class Move:
    """An alias that shall point to another version, in a transaction."""

    connection: Connection
    artifacts: ArtifactStore
    alias: str
    candidate: VersionRecord
    candidate_id: int
    """Key of its row, which evidence and approvals are bound to."""
    current: VersionRecord | None
    """What the alias points to now."""
    current_id: int | None
    actor: str


@dataclass(frozen=True, slots=True)
class GateResult:
    """What one gate says."""

    gate: str
    passed: bool
    reason: str
    """What was found; where it failed, also what is missing and how to bring it."""
    figures: Mapping[str, float] | None = None


class Gate(Protocol):
    """One condition; it reads what it needs in the transaction of the move, and trusts no posted number."""

    @property
    def name(self) -> str:
        """What policies call it."""

    def check_settings(self, settings: Settings) -> None:
        """Check what a policy says of it.

        Raises:
            LibraryError: if a setting is unknown or impossible.
        """

    def judge(self, move: Move, settings: Settings) -> GateResult:
        """Whether the condition holds for `move`; evidence that is missing or unknown does not pass."""
