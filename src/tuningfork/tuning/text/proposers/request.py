"""What a strategy asks whoever writes instructions."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal, Protocol

Kind = Literal["paraphrase", "combine", "improve", "describe", "reflect"]


@dataclass(frozen=True, slots=True)
class Request:
    """One wish for instructions; all that is in it comes from training rows and from scores on them."""

    kind: Kind
    """The same said otherwise; two made into one; better than those scored; from examples; from mistakes."""
    instruction: str = ""
    """What to start from."""
    other: str = ""
    """The second one to combine."""
    scored: tuple[tuple[str, float], ...] = ()
    """Instructions with their scores, worst first."""
    examples: tuple[tuple[str, str], ...] = ()
    """Inputs with their answers."""
    mistakes: tuple[str, ...] = ()
    """What went wrong, and what would have been right."""
    tip: str = ""
    """How the new one should be."""
    labels: tuple[str, ...] = ()
    """The words of the answers, where there are labels."""

    def key(self, proposer: str, count: int, seed: int) -> str:
        """SHA-256 of asking `proposer` for this."""
        content = {"request": asdict(self), "proposer": proposer, "count": count, "seed": seed}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class Proposer(Protocol):
    """Writes instructions."""

    @property
    def name(self) -> str:
        """What tells it from other proposers, in logs."""

    def propose(self, request: Request, count: int, seed: int) -> list[str]:
        """Write up to `count` instructions, the same for the same `seed` as far as the proposer can."""

    def most_money(self, request: Request, count: int) -> float:
        """What that can cost at most."""

    def take_money(self) -> float:
        """What was paid since this was last asked."""
