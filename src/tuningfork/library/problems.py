"""What can be wrong with a library."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as it must be."""

    kind: str
    """`database`, `chain`, `event`, `version`, `prompt`, `alias`, `policy`, `gate run`, `approval`,
    `evidence`, `dataset`, `person` (with their roles and keys), `artifact` or `words`."""
    where: str
    what: str
    can_be_repaired: bool = False
    """Without inventing anything; an artifact only from another copy."""
