"""What a contestant of a comparison is, and what all of them share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from tuningfork.data.example import Example
from tuningfork.evaluation.comparison import Family, Setting
from tuningfork.evaluation.evaluate import Evaluation, Prediction
from tuningfork.events import EventSink
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.preparation import Prepared
from tuningfork.training.checkpoint import Progress, Validation


@dataclass(frozen=True, slots=True)
class Arena:
    """What all contestants share: model, rows, folds, budget, seeds."""

    model: FrozenModel
    """Never changed; whoever trains weights trains those of a copy."""
    prepared: Prepared
    """Examples and folds are the same for everybody; no contestant sees test rows before it is made."""
    options: TuneOptions
    """Steps, batch size, early stopping, seed and number of seeds for everybody."""
    sink: EventSink
    budget_seconds: float | None = None
    """Wall time that each may take to choose its settings; None is no limit."""

    @property
    def seeds(self) -> range:
        """The seeds of the trainings whose scores are reported."""
        return range(self.options.seed, self.options.seed + self.options.num_seeds)


Answer = Callable[[Sequence[Example]], Evaluation]
"""Answers rows and scores the answers against their targets."""


@dataclass(frozen=True, slots=True)
class Made:
    """A contestant that is ready for the test rows."""

    answers: Mapping[int, Answer]
    """By seed; one entry for what is not trained."""
    setting: Mapping[str, Setting] = field(default_factory=dict)
    validation: Validation | None = None
    """What held-out rows said of the chosen setting."""
    seconds_to_best: float | None = None
    trained_parameters: int = 0
    stored_bytes: int = 0
    priced_as: str | None = None
    """The model behind an API that answers, as price tables call it; None if this machine does."""
    prompt_tokens: int | None = None
    """Tokens or virtual tokens that every call reads in front of its row; None if no model reads."""
    respond: Callable[[Sequence[Example]], Sequence[Prediction]] | None = None
    """What users call, with the first of the seeds: answers rows and scores nothing. Its latency is that of
    the contestant; without it, that of `answers` is measured."""


class Contestant(Protocol):
    """One way of adapting the model."""

    @property
    def name(self) -> str:
        """What reports call it."""

    @property
    def family(self) -> Family:
        """What it changes."""

    def reason_to_leave_out(self, arena: Arena) -> str | None:
        """Why it cannot take part here, in a few words; None if it can."""

    def make(self, arena: Arena, work: Path) -> Made:
        """Choose settings on held-out rows and train, keeping in `work` what is needed to go on after a kill.

        Called again with the same `work`, it goes on where it stood; what it makes is bit-equal then.
        """


@runtime_checkable
class Trains(Protocol):
    """A contestant that can say beforehand how much it trains."""

    def num_trainings(self, arena: Arena) -> int:
        """Trainings at most: those that choose its setting, and the seeds of it."""


def search_setting(num_candidates: int, num_cut_short: int) -> dict[str, Setting]:
    """What a report says of how widely was searched."""
    cut_short: dict[str, Setting] = {"cut short by the budget": num_cut_short} if num_cut_short else {}
    return {"candidates": num_candidates, **cut_short}


def seconds_to_best(progress: Progress) -> float:
    """Time of a training until the step that is kept, as if all its steps took alike."""
    kept = progress.step if progress.best is None else progress.best_step
    return progress.seconds * kept / max(1, progress.step)
