"""A search without a language model: scores by a function, rows and proposals by rule."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tuningfork.data.example import Example
from tuningfork.tasks.task import Task, TaskData
from tuningfork.tuning.text.budget import SearchBudget, SearchEnded
from tuningfork.tuning.text.candidates import PromptWriter, TextCandidate
from tuningfork.tuning.text.proposers.request import Proposer, Request
from tuningfork.tuning.text.proposers.rules import RuleProposer
from tuningfork.tuning.text.scoring import RowScore
from tuningfork.tuning.text.search_log import SearchLog
from tuningfork.tuning.text.strategy import TextStrategy
from tuningfork.tuning.text.training_rows import TrainingRows, Vectors
from tuningfork.tuning.text.trials import Trial, Trials

Value = Callable[[TextCandidate, int], float]

TASK = Task(
    name="parcels",
    type="classification",
    data=TaskData(train="train.jsonl", inputs={"text": "text"}, target="label"),
    prompt="Sort the message.\n\nMessage: {{text}}",
    labels={"a": "alpha", "b": "beta"},
    metric="accuracy",
)


def example_rows(count: int) -> list[Example]:
    return [Example({"text": f"row number {i}"}, ("ab"[i % 2],), source=f"rows:{i}") for i in range(count)]


def grid(examples: Sequence[Example]) -> Vectors:
    """Vectors by the number in the text: a half circle, so that every row has its own direction."""
    numbers = [int(example.inputs["text"].split()[-1]) for example in examples]
    angles = np.pi * np.array(numbers) / max(1, len(numbers))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


@dataclass
class Clock:
    """Stands still unless it is moved."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class ScriptedScorer:
    """Scores by `value`; every row takes `seconds` of `clock` and costs `money`."""

    value: Value
    clock: Clock = field(default_factory=Clock)
    seconds: float = 0.0
    money: float = 0.0
    model_key: str = "scripted"
    asked: list[tuple[TextCandidate, tuple[int, ...]]] = field(default_factory=list)
    paid: float = 0.0
    most_calls: int | None = None
    """After which it is cut off as by a kill."""

    def fits(self, candidate: TextCandidate) -> bool:
        return len(candidate.instruction) < 2000

    def score(self, candidate: TextCandidate, rows: Sequence[int]) -> list[RowScore]:
        if self.most_calls is not None and len(self.asked) >= self.most_calls:
            raise KeyboardInterrupt
        self.asked.append((candidate, tuple(rows)))
        self.clock.now += self.seconds * len(rows)
        self.paid += self.money * len(rows)
        return [RowScore(self.value(candidate, row), f"said {row}") for row in rows]

    def most_money(self, candidate: TextCandidate, rows: Sequence[int]) -> float:
        del candidate
        return self.money * len(rows)

    def take_money(self) -> float:
        paid, self.paid = self.paid, 0.0
        return paid

    @property
    def num_calls(self) -> int:
        return sum(len(rows) for _, rows in self.asked)


@dataclass
class SpyProposer:
    """Hands on what it is asked, and remembers it."""

    inner: Proposer = field(default_factory=RuleProposer)
    asked: list[Request] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.inner.name

    def propose(self, request: Request, count: int, seed: int) -> list[str]:
        self.asked.append(request)
        return self.inner.propose(request, count, seed)

    def most_money(self, request: Request, count: int) -> float:
        return 0.0

    def take_money(self) -> float:
        return 0.0


@dataclass
class Desk:
    """A search that can be run again on the same log."""

    value: Value
    num_rows: int = 24
    calls: int = 600
    seed: int = 0
    task: Task = TASK
    proposer: Proposer = field(default_factory=RuleProposer)
    options: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None
    seconds: float | None = None
    money: float | None = None
    vectorize: Callable[[Sequence[Example]], Vectors] = grid

    def __post_init__(self) -> None:
        self.examples = example_rows(self.num_rows)
        self.scorer = ScriptedScorer(self.value)

    def trials(self) -> Trials:
        log = SearchLog(self.path, model_key=self.scorer.model_key)
        self.budget = SearchBudget(
            calls=self.calls,
            seconds=self.seconds,
            money=self.money,
            seconds_spent=log.seconds,
            money_spent=log.money,
            clock=self.scorer.clock,
        )
        trials = Trials(
            TrainingRows(self.examples, seed=self.seed, vectorize=self.vectorize),
            PromptWriter(self.task, self.examples),
            self.scorer,
            self.proposer,
            self.budget,
            log,
            labels=tuple((self.task.labels or {}).values()),
            **self.options,
        )
        trials.begin("", seed=self.seed)
        return trials

    def search(self, strategy: TextStrategy) -> Trials:
        """Search until the budget is spent or nothing new comes."""
        trials = self.trials()
        trials.begin(strategy.name, seed=self.seed)
        with suppress(SearchEnded):
            strategy.search(trials)
        return trials


def true_mean(value: Value, trial: Trial, num_rows: int) -> float:
    """What a candidate is worth on all rows, whatever it was scored on."""
    return float(np.mean([value(trial.candidate, row) for row in range(num_rows)]))


def found(desk: Desk, strategy: TextStrategy) -> float:
    """What the best candidate of a search is worth."""
    trials = desk.search(strategy)
    return true_mean(desk.value, trials.best, desk.num_rows)
