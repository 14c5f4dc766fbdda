"""How metric calls are divided, and which of the best prompts of a search validation rows choose."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tuningfork.data.example import Example
from tuningfork.errors import PromptError
from tuningfork.evaluation.evaluate import Evaluation
from tuningfork.library.optimization_folder import FinalistRecord, OptimizationOptions
from tuningfork.recipes.text_desk import Desk
from tuningfork.tasks.metrics import Metric
from tuningfork.training.loop import selection_score
from tuningfork.tuning.text.budget import SearchBudget
from tuningfork.tuning.text.candidates import PromptWriter, TextCandidate
from tuningfork.tuning.text.racing import gain
from tuningfork.tuning.text.search_log import SearchLog
from tuningfork.tuning.text.training_rows import MOST_SCORED_ROWS
from tuningfork.tuning.text.trials import Trial, Trials

_TIE = 1e-5
_SHARE_OF_CHOICE = 1 / 3
_FEWEST_CANDIDATES = 8
"""What is left must suffice to score so many candidates on all rows that are scored."""
_FEWEST_ROWS = 4


@dataclass(frozen=True, slots=True)
class Shares:
    """How metric calls are divided."""

    num_scored: int
    """Training rows that a candidate is scored on at most."""
    num_finalists: int
    """Candidates that validation rows choose from, beside the hand-written prompt."""
    num_validation: int

    @property
    def choice(self) -> int:
        """Calls that are kept for choosing."""
        return (self.num_finalists + 1) * self.num_validation


@dataclass(frozen=True, slots=True)
class Finalist:
    """A prompt that validation rows judged."""

    candidate: TextCandidate
    found: Evaluation
    quality: float
    """What validation chooses by; higher is better."""
    trial: Trial | None = None
    """None of a hand-written prompt that was not scored on all training rows."""

    def record(self, writer: PromptWriter, *, is_chosen: bool) -> FinalistRecord:
        """What is written down of it."""
        return FinalistRecord(
            prompt=writer.task(self.candidate).prompt,
            strategy="" if self.trial is None else self.trial.origin,
            num_demonstrations=len(self.candidate.demonstrations),
            train_score=None if self.trial is None else self.trial.mean,
            validation_score=self.found.mean_score,
            validation_log_loss=self.found.mean_log_loss if self.found.has_log_losses else None,
            is_chosen=is_chosen,
        )


def divide(options: OptimizationOptions, num_train: int, num_validation: int) -> Shares:
    """Divide the metric calls: a third at most for choosing, and rows for eight candidates or more.

    Where validation rows are many, fewer prompts are chosen from, and then fewer rows are read.

    Raises:
        PromptError: There are too few calls to search at all.
    """
    calls = options.budget_calls
    for_choice = math.floor(calls * _SHARE_OF_CHOICE)
    finalists = max(1, min(options.num_finalists, for_choice // num_validation - 1))
    validation = min(num_validation, for_choice // (finalists + 1))
    search = calls - (finalists + 1) * validation
    scored = min(MOST_SCORED_ROWS, num_train, search // _FEWEST_CANDIDATES)
    if validation < min(_FEWEST_ROWS, num_validation) or scored < min(_FEWEST_ROWS, num_train):
        fewest = 3 * _FEWEST_ROWS * _FEWEST_CANDIDATES // 2
        raise PromptError(
            f"--budget-calls {calls} is too few to search: give {fewest} or more, 1000 if in doubt"
        )
    return Shares(scored, finalists, validation)


def judged_finalists(
    trials: Trials, desk: Desk, writer: PromptWriter, shares: Shares, budget: SearchBudget, log: SearchLog
) -> list[Finalist]:
    """The best of the search and the hand-written prompt, judged by validation rows, best first.

    Ties go to the hand-written prompt, and then to what did better in the search.
    """
    base, rows = trials.base, list(desk.rows.validation[: shares.num_validation])
    hand_written = next((t for t in trials.history if t.is_complete and t.candidate == base), None)
    entered: list[tuple[TextCandidate, Trial | None]] = [(base, hand_written)]
    if hand_written is not None:
        best = finalists_of(trials.history, hand_written)[: shares.num_finalists]
        entered += [(trial.candidate, trial) for trial in best]
    found = []
    for candidate, trial in entered:
        evaluation = _evaluated(candidate, rows, desk, writer, budget, log)
        quality = _quality(evaluation, desk.task.scoring)
        found.append(Finalist(candidate, evaluation, quality, trial))
    # Equal within rounding is a tie, and in a tie the first of the list stays in front.
    first = found[0].quality
    tied = first + _TIE * max(1.0, abs(first)) if math.isfinite(first) else first
    return sorted(found, key=lambda each: -(first if first < each.quality <= tied else each.quality))


def finalists_of(history: Sequence[Trial], hand_written: Trial) -> list[Trial]:
    """Those that beat the hand-written prompt on training rows: the best of each strategy, then the others.

    Both by their gain. What one strategy finds last is often much the same, and then there would be little to
    choose from; and few validation rows would at times favour what training rows speak against.
    """
    gains = {id(t): gain(t.values, hand_written.values) for t in history if t.is_complete}
    others = [trial for trial in history if gains.get(id(trial), 0.0) > 0]
    others.sort(key=lambda trial: -gains[id(trial)])
    leaders = list({trial.origin: trial for trial in reversed(others)}.values())
    leaders.sort(key=others.index)
    return [*leaders, *(trial for trial in others if trial not in leaders)]


def _evaluated(
    candidate: TextCandidate,
    rows: Sequence[Example],
    desk: Desk,
    writer: PromptWriter,
    budget: SearchBudget,
    log: SearchLog,
) -> Evaluation:
    before = budget.seconds_spent
    try:
        found = desk.judge.evaluate(writer.task(candidate), rows)
    finally:
        # Also where it failed: what was answered was paid.
        money = desk.judge.take_money()
        budget.spend(money=money)
        log.add_spent(seconds=budget.seconds_spent - before, money=money)
    budget.spend(len(rows))
    return found


def _quality(found: Evaluation, metric: Metric) -> float:
    if found.has_log_losses:
        return selection_score(found.validation, higher_is_better=metric.higher_is_better)
    return found.mean_score if metric.higher_is_better else -found.mean_score
