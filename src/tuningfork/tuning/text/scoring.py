"""What a search asks of a model: how good a candidate is on training rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tuningfork.tuning.text.candidates import TextCandidate


@dataclass(frozen=True, slots=True)
class RowScore:
    """One candidate on one row."""

    value: float
    """Higher is better: the probability of the right label where there is one, else the task's metric."""
    answer: str = ""
    """What the model said."""


class Scorer(Protocol):
    """Runs candidates on training rows; it holds no other rows."""

    @property
    def model_key(self) -> str:
        """What tells this model, and how it is asked, from any other."""

    def fits(self, candidate: TextCandidate) -> bool:
        """Whether the model has room for it and any row."""

    def score(self, candidate: TextCandidate, rows: Sequence[int]) -> list[RowScore]:
        """Score `candidate` on the training rows numbered `rows`."""

    def most_money(self, candidate: TextCandidate, rows: Sequence[int]) -> float:
        """What scoring them can cost at most."""

    def take_money(self) -> float:
        """What was paid since this was last asked."""
