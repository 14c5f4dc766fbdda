"""The desk of a search: training rows, a proposer, a generator, and the only way to score candidates."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from tuningfork.tuning.text.budget import SearchBudget
from tuningfork.tuning.text.candidates import PromptWriter, TextCandidate
from tuningfork.tuning.text.proposers.request import Proposer, Request
from tuningfork.tuning.text.racing import Values, gain, rungs, survivors
from tuningfork.tuning.text.scoring import RowScore, Scorer
from tuningfork.tuning.text.search_log import SearchLog
from tuningfork.tuning.text.training_rows import TrainingRows

R = TypeVar("R")

_ROWS_AT_ONCE = 32
LONGEST_INSTRUCTION = 4000
"""Characters; what is longer is cut off by no rule that makes sense, so it is dropped."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A candidate and what was found out about it."""

    candidate: TextCandidate
    values: Values
    """By training row; higher is better."""
    is_complete: bool
    """Whether it was scored on every row, those it shows left out; otherwise it lost a race."""
    origin: str = ""
    """The strategy that proposed it."""

    @property
    def mean(self) -> float:
        """Mean over the rows it was scored on."""
        return math.fsum(self.values.values()) / len(self.values) if self.values else -math.inf


class Trials:
    """What a strategy is given; nothing of it leads to rows that are held out.

    Every score is taken from the budget and written to the log, and is taken from the log where it is there.
    """

    def __init__(
        self,
        rows: TrainingRows,
        writer: PromptWriter,
        scorer: Scorer,
        proposer: Proposer,
        budget: SearchBudget,
        log: SearchLog,
        *,
        most_demonstrations: int = 8,
        labels: Sequence[str] = (),
        kept_calls: int = 0,
        kept_paid_calls: int = 0,
        report: Callable[["Trials"], None] = lambda _: None,
    ) -> None:
        """Set the desk; time for `kept_calls` more calls, and money for `kept_paid_calls`, are kept back."""
        self.rows = rows
        self.base = writer.base
        self.most_demonstrations = most_demonstrations
        self.labels = tuple(labels)
        self.generator = random.Random(0)
        """Drawn from by the strategy at work, whose own it is."""
        self.strategy = ""
        self._writer = writer
        self._scorer = scorer
        self._proposer = proposer
        self._budget = budget
        self._log = log
        self._kept_calls = kept_calls
        self._kept_paid_calls = kept_paid_calls
        self._report = report
        self._found: dict[str, Trial] = {}
        self._charged: set[tuple[str, int]] = set()
        self._slowest = 0.0
        self._dearest = 0.0
        self._slowest_text = 0.0
        self._best: Trial | None = None

    def begin(self, strategy: str, *, seed: int) -> None:
        """Let `strategy` work, with a generator of its own."""
        self.strategy = strategy
        self.generator = random.Random(f"{strategy} {seed}")

    @property
    def history(self) -> Sequence[Trial]:
        """All that was tried, oldest first, the hand-written prompt before all."""
        return list(self._found.values())

    @property
    def best(self) -> Trial:
        """The best of those scored on all rows; ties go to the earlier one.

        Raises:
            SearchEnded: The budget does not suffice for the hand-written prompt.
        """
        if self._best is None:
            key = self._writer.key(self.base)
            self._advance(key, self.base, {}, len(self.rows.scored))
            assert self._best is not None, "the first to finish is the best"
        return self._best

    @property
    def calls_left(self) -> int:
        """Metric calls that may still be taken."""
        return self._budget.calls_left

    @property
    def calls_spent(self) -> int:
        """Metric calls that were taken."""
        return self._budget.calls_spent

    @property
    def num_prompts(self) -> int:
        """Different prompts that were scored on a row or more."""
        return len({key for key, _ in self._charged})

    def shown(self, row: int) -> str:
        """A training row with its answer, as a demonstration says it."""
        return self._writer.shown(row)

    def propose(self, request: Request, count: int) -> list[str]:
        """Ask the proposer for up to `count` instructions; what is empty, too long or double is left out.

        Raises:
            SearchEnded: No more may be taken.
        """
        seed = self.generator.getrandbits(32)
        key = request.key(self._proposer.name, count, seed)
        texts = self._log.proposal(key)
        if texts is None:
            texts = self._written(key, request, count, seed)
        stripped = (text.strip() for text in texts)
        usable = (text for text in stripped if 0 < len(text) <= LONGEST_INSTRUCTION)
        return list(dict.fromkeys(usable))[:count]

    def measure(self, candidate: TextCandidate, rows: Sequence[int]) -> list[RowScore]:
        """Score a candidate on `rows`, none of which it shows.

        Raises:
            SearchEnded: No more may be taken.
            ValueError: It shows one of `rows`, or the model has no room for it.
        """
        if len(self.rows.unseen(candidate.demonstrations, rows)) < len(rows):
            raise ValueError("a candidate is not scored on rows that it shows")
        if not self._scorer.fits(candidate):
            raise ValueError("the model has no room for this candidate")
        key = self._writer.key(candidate)
        scores: dict[int, RowScore] = {}
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            scores |= self._scored(key, candidate, rows[start : start + _ROWS_AT_ONCE])
            self._report(self)
        return [scores[row] for row in rows]

    def race(self, candidates: Sequence[TextCandidate], *, to_beat: Trial | None = None) -> list[Trial]:
        """Score candidates on more and more rows, as long as they may beat `to_beat`, by default the best.

        The hand-written prompt is scored before all others. What was tried before, or has no room in the
        model, is left out. What is returned is in the order of `candidates`, and in the history, too.

        Raises:
            SearchEnded: No more may be taken; what was scored until then is in the history.
        """
        rival = (to_beat or self.best).values
        entered = self._entered(candidates)
        values: dict[str, dict[int, float]] = {key: {} for key in entered}
        alive = list(entered)
        sizes = rungs(len(self.rows.scored))
        for size in sizes:
            for key in alive:
                self._advance(key, entered[key], values[key], size)
            if not alive or size == sizes[-1]:
                break
            kept = survivors([values[key] for key in alive], rival)
            alive = [alive[place] for place in kept]
        return [self._found[key] for key in entered]

    def finish(self, candidate: TextCandidate) -> Trial:
        """Score a candidate on all rows that it does not show, whatever it lost before.

        Raises:
            SearchEnded: No more may be taken.
            ValueError: The model has no room for it.
        """
        _ = self.best
        key = self._writer.key(candidate)
        if key not in self._found or not self._found[key].is_complete:
            self._advance(key, candidate, {}, len(self.rows.scored))
        return self._found[key]

    def has_room(self, candidate: TextCandidate) -> bool:
        """Whether the model has room for a candidate and any row."""
        return self._scorer.fits(candidate)

    def _entered(self, candidates: Sequence[TextCandidate]) -> dict[str, TextCandidate]:
        entered: dict[str, TextCandidate] = {}
        for candidate in candidates:
            key = self._writer.key(candidate)
            if key not in self._found and key not in entered and self._scorer.fits(candidate):
                entered[key] = candidate
        return entered

    def _advance(self, key: str, candidate: TextCandidate, values: dict[int, float], size: int) -> None:
        """Score a candidate on the first `size` rows, and note what is known of it then."""
        rows = self.rows.unseen(candidate.demonstrations, self.rows.scored[:size])
        scores = self.measure(candidate, rows)
        values |= {row: score.value for row, score in zip(rows, scores, strict=True)}
        is_complete = size == len(self.rows.scored)
        trial = Trial(candidate, dict(values), is_complete, self.strategy)
        self._found[key] = trial
        if is_complete and (self._best is None or gain(trial.values, self._best.values) > 0):
            self._best = trial

    def _scored(self, key: str, candidate: TextCandidate, rows: Sequence[int]) -> dict[int, RowScore]:
        self._budget.check(sum((key, row) not in self._charged for row in rows))
        kept = {row: self._log.score(key, self.rows.keys[row]) for row in rows}
        found = {row: score for row, score in kept.items() if score is not None}
        missing = [row for row in rows if row not in found]
        if missing:
            most = self._scorer.most_money(candidate, missing)
            self._check(seconds=self._slowest * len(missing), money=most)
            found |= self._asked(key, candidate, missing)
        charged = {(key, row) for row in rows} - self._charged
        self._charged |= charged
        self._budget.spend(len(charged))
        return found

    def _check(self, *, seconds: float, money: float) -> None:
        """Check that there is so much time and money, and what is kept back besides."""
        self._budget.check(
            seconds=seconds + self._slowest * self._kept_calls,
            money=money + self._dearest * self._kept_paid_calls,
        )

    def _paid(self, ask: Callable[[], R], take_money: Callable[[], float]) -> tuple[R, float, float]:
        """What `ask` returns, and what it took: seconds, and money, which the budget is charged with."""
        before = self._budget.seconds_spent
        try:
            found = ask()
        except BaseException:
            # What was answered until then was paid, and is known by the next session.
            money = take_money()
            self._budget.spend(money=money)
            self._log.add_spent(seconds=self._budget.seconds_spent - before, money=money)
            raise
        money = take_money()
        self._budget.spend(money=money)
        return found, self._budget.seconds_spent - before, money

    def _written(self, key: str, request: Request, count: int, seed: int) -> tuple[str, ...]:
        self._check(seconds=self._slowest_text * count, money=self._proposer.most_money(request, count))
        propose = partial(self._proposer.propose, request, count, seed)
        found, seconds, money = self._paid(propose, self._proposer.take_money)
        texts = tuple(found)
        self._slowest_text = max(self._slowest_text, seconds / max(1, count))
        self._log.add_proposal(key, texts, seconds=seconds, money=money)
        return texts

    def _asked(self, key: str, candidate: TextCandidate, rows: Sequence[int]) -> dict[int, RowScore]:
        self._log.add_candidate(key, self._writer.task(candidate).prompt, self.strategy)
        score = partial(self._scorer.score, candidate, rows)
        scores, seconds, money = self._paid(score, self._scorer.take_money)
        self._slowest = max(self._slowest, seconds / len(rows))
        self._dearest = max(self._dearest, money / len(rows))
        by_key = {self.rows.keys[row]: score for row, score in zip(rows, scores, strict=True)}
        self._log.add_scores(key, by_key, seconds=seconds, money=money)
        return dict(zip(rows, scores, strict=True))
