"""The answers to a whole split, as metrics take them that are no mean over its rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answers:
    """What was answered to each of N rows, and what is right; the sequences are parallel."""

    predictions: Sequence[str]
    references: Sequence[Sequence[str]]
    """At least one for each row; where a row has one right answer, the first counts."""
    log_losses: Sequence[float] | None = None
    """Nats: of the right label among the labels, or per token of the first reference."""
    probabilities: Sequence[Sequence[float]] | None = None
    """Of each of the labels, (N, C); None where there are none."""
    labels: tuple[str, ...] = ()
    """All labels of the task; none where answers are written freely."""

    def __len__(self) -> int:
        return len(self.predictions)

    @property
    def said(self) -> list[str]:
        """What was answered to each row, without outer whitespace."""
        return [prediction.strip() for prediction in self.predictions]

    @property
    def gold(self) -> list[str]:
        """The right answer to each row, stripped: the one that was given if it is right, else the first."""
        right = [[reference.strip() for reference in references] for references in self.references]
        return [said if said in texts else texts[0] for said, texts in zip(self.said, right, strict=True)]

    @property
    def places(self) -> dict[str, int]:
        """Which of the labels each is."""
        return {label.strip(): place for place, label in enumerate(self.labels)}

    def take(self, indices: Sequence[int]) -> Self:
        """The answers to the rows at `indices`, in that order and as often as each is named."""

        def taken(values: Sequence[T]) -> list[T]:
            return [values[index] for index in indices]

        return type(self)(
            taken(self.predictions),
            taken(self.references),
            None if self.log_losses is None else taken(self.log_losses),
            None if self.probabilities is None else taken(self.probabilities),
            self.labels,
        )
