"""A better text prompt: search on training rows, choose on validation rows, prove on test rows."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np

from tuningfork.errors import BudgetSpent, RemoteError, RunError
from tuningfork.evaluation.evaluate import Evaluation
from tuningfork.evaluation.pooled_scores import score_interval
from tuningfork.events import EventSink, Notice, NullSink, StageAdvanced, StageFinished, StageStarted
from tuningfork.library.optimization_folder import (
    OPTIMIZED_PROMPT,
    OptimizationFolder,
    OptimizationOptions,
    OptimizationPlan,
    OptimizationResult,
    ScoreRecord,
    SpentRecord,
)
from tuningfork.library.run_folder import count_test_read
from tuningfork.library.run_records import TEXT_PROMPT, RunRecord
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.environment import describe_environment, describe_model
from tuningfork.recipes.proof import verdict_on
from tuningfork.recipes.text_choice import Finalist, divide, judged_finalists
from tuningfork.recipes.text_desk import desk_for
from tuningfork.recipes.text_run import save_as_run
from tuningfork.recipes.text_scoring import TrainingScorer
from tuningfork.recipes.tune import changed_since
from tuningfork.tasks.metrics import Metric
from tuningfork.tasks.task import Task, task_hash
from tuningfork.tuning.text.budget import SearchBudget, SearchEnded
from tuningfork.tuning.text.candidates import PromptWriter
from tuningfork.tuning.text.proposers.request import Proposer
from tuningfork.tuning.text.registry import DEFAULT_STRATEGIES, get_text_strategy
from tuningfork.tuning.text.search_log import SearchLog
from tuningfork.tuning.text.strategy import TextStrategy
from tuningfork.tuning.text.training_rows import TrainingRows
from tuningfork.tuning.text.trials import Trials

_STAGE = "search"

Ended = Literal["calls", "seconds", "money", "nothing new"]


def optimize(
    task: Task,
    options: OptimizationOptions,
    *,
    runs_folder: Path = Path("runs"),
    resume: OptimizationFolder | None = None,
    model: FrozenModel | None = None,
    proposer: Proposer | None = None,
    sink: EventSink | None = None,
) -> OptimizationFolder:
    """Search for a better text prompt of `task`, and return the finished search.

    Strategies and the proposer see training rows only; validation rows choose among the best, and the test
    rows are read once, with the prompt that was chosen and the hand-written one. With `resume`, an unfinished
    search goes on: task and options are then those of the search, and what was scored is not scored again.
    `proposer` takes the place of the one that `options` name.

    Raises:
        TuningForkError: of the kind that names what is wrong. Where a model behind an address fails, what was
            scored is kept, and the message says how to go on.
    """
    return _Optimization(task, options, model, proposer, resume, sink or NullSink()).run(runs_folder)


def plan_optimization(
    task: Task,
    options: OptimizationOptions,
    *,
    model: FrozenModel | None = None,
    sink: EventSink | None = None,
) -> None:
    """Do all of `optimize` that comes before scoring, tell the plan, and write nothing.

    Raises:
        TuningForkError: as `optimize` would.
    """
    _Optimization(task, options, model, None, None, sink or NullSink()).announce()


class _Optimization:
    """One call of `optimize`."""

    def __init__(
        self,
        task: Task,
        options: OptimizationOptions,
        model: FrozenModel | None,
        proposer: Proposer | None,
        resume: OptimizationFolder | None,
        sink: EventSink,
    ) -> None:
        self._started = time.perf_counter()
        self._task = task
        self._options = options
        self._sink = sink
        self._resume = resume
        self._strategies = [get_text_strategy(name) for name in options.strategies or DEFAULT_STRATEGIES]
        before = None if resume is None else SearchLog.spent(resume.log_path)
        run = None if resume is None else resume.plan.run
        self._desk = desk_for(
            task,
            options,
            model=model,
            # A search that goes on keeps its number format, which was perhaps chosen by timing.
            dtype=None if run is None else run.model.dtype,
            money_spent=0.0 if before is None else before[1],
            sink=sink,
        )
        self._proposer = proposer or self._desk.proposer
        self._shares = divide(options, len(self._desk.rows.train), len(self._desk.rows.validation))
        self._writer = PromptWriter(task, self._desk.rows.train)

    def announce(self) -> None:
        """Tell what `run` would do."""
        shares, rows = self._shares, self._desk.rows
        names = ", ".join(strategy.name for strategy in self._strategies)
        limits = [f"{self._options.budget_calls:,} metric calls"]
        if self._options.budget_seconds is not None:
            limits.append(f"{self._options.budget_seconds:g} s")
        if self._options.budget_money is not None:
            limits.append(f"{self._options.budget_money:g} in money")
        self._sink.emit(
            Notice(
                f"Plan      {names}; instructions by {self._proposer.name}; up to {' and '.join(limits)}: "
                f"{shares.num_scored} training rows a candidate at most, then up to "
                f"{shares.num_finalists + 1} prompts on {shares.num_validation} validation rows; on top, the "
                f"chosen and the hand-written prompt on {len(rows.test)} test rows"
            )
        )

    def run(self, runs_folder: Path) -> OptimizationFolder:
        """Search, choice, test, result."""
        folder = self._open_folder(runs_folder)
        self.announce()
        log = SearchLog(folder.log_path, model_key=self._desk.judge.model_key)
        budget = SearchBudget(
            calls=self._options.budget_calls,
            seconds=self._options.budget_seconds,
            money=self._options.budget_money,
            seconds_spent=log.seconds,
            money_spent=log.money,
        )
        earlier = log.seconds
        try:
            trials = self._trials(budget, log)
            with budget.limited(budget.calls_left - self._shares.choice):
                ended = self._search(trials, budget)
            finalists = judged_finalists(trials, self._desk, self._writer, self._shares, budget, log)
            return self._finish(folder, trials, budget, ended, finalists, earlier)
        except BudgetSpent:
            raise
        except RemoteError as error:
            raise type(error)(
                f"{error}; what was scored is kept, go on with: tuningfork optimize --resume {folder.path}"
            ) from error
        finally:
            self._desk.close()

    def _open_folder(self, runs_folder: Path) -> OptimizationFolder:
        plan, resume = self._plan(), self._resume
        if resume is None:
            folder = OptimizationFolder.create(runs_folder, plan, self._task)
            self._sink.emit(Notice(f"Search    {folder.path}"))
            return folder
        if resume.is_finished:
            raise RunError(
                f"{resume.path}: this search is finished; see it with: tuningfork show {resume.path}"
            )
        before = resume.plan
        changed = [
            what
            for what, is_same in {
                "the data": before.data_hash == plan.data_hash,
                "the test set": before.test_hash == plan.test_hash,
                "the task": before.task_hash == plan.task_hash,
                "the options": before.options == plan.options,
            }.items()
            if not is_same
        ]
        if before.run is not None and plan.run is not None:
            changed += [part for part in changed_since(before.run, plan.run) if part not in changed]
        if changed:
            raise RunError(
                f"{resume.path}: cannot be resumed, changed since it began: {', '.join(changed)}; "
                "put that back, or start a new search"
            )
        self._sink.emit(Notice(f"Resume    {resume.path}"))
        return resume

    def _plan(self) -> OptimizationPlan:
        rows, model = self._desk.rows, self._desk.model
        created = datetime.now(UTC).isoformat(timespec="seconds")
        run = None
        if model is not None:
            run = RunRecord(
                origin="optimize",
                created=created,
                options=self._options.tuning,
                model=describe_model(model),
                data_hash=rows.data_hash,
                test_hash=rows.test_hash,
                task_hash=task_hash(self._task),
                environment=describe_environment(),
            )
        return OptimizationPlan(
            created=created,
            options=self._options,
            run=run,
            data_hash=rows.data_hash,
            test_hash=rows.test_hash,
            task_hash=task_hash(self._task),
        )

    def _trials(self, budget: SearchBudget, log: SearchLog) -> Trials:
        desk = self._desk
        rows = TrainingRows(
            desk.rows.train,
            seed=self._options.tuning.seed,
            vectorize=desk.vectorize,
            may_show=desk.may_show,
            most_scored=self._shares.num_scored,
        )
        return Trials(
            rows,
            self._writer,
            TrainingScorer(desk.judge, self._writer, desk.rows.train),
            self._proposer,
            budget,
            log,
            most_demonstrations=self._options.most_demonstrations,
            labels=tuple((self._task.labels or {}).values()),
            kept_calls=self._shares.choice,
            kept_paid_calls=self._shares.choice + 2 * len(desk.rows.test),
            report=self._report,
        )

    def _search(self, trials: Trials, budget: SearchBudget) -> Ended:
        """Let each strategy take its share of the calls; return why the last one ended."""
        self._sink.emit(StageStarted(_STAGE, self._options.budget_calls, "calls"))
        started, ended = time.perf_counter(), "nothing new"
        try:
            trials.begin("", seed=self._options.tuning.seed)
            _ = trials.best
            for place, strategy in enumerate(self._strategies):
                share = budget.calls_left // (len(self._strategies) - place)
                ended = self._let(strategy, share, trials, budget)
                if ended in ("seconds", "money"):
                    break
        except SearchEnded as end:
            ended = end.limit
        self._sink.emit(StageFinished(_STAGE, time.perf_counter() - started))
        return ended  # type: ignore[return-value]

    def _let(self, strategy: TextStrategy, share: int, trials: Trials, budget: SearchBudget) -> Ended:
        trials.begin(strategy.name, seed=self._options.tuning.seed)
        try:
            with budget.limited(share):
                strategy.search(trials)
        except SearchEnded as end:
            return end.limit
        return "nothing new"

    def _report(self, trials: Trials) -> None:
        self._sink.emit(StageAdvanced(_STAGE, trials.calls_spent, f"{trials.num_prompts} prompts"))

    def _finish(
        self,
        folder: OptimizationFolder,
        trials: Trials,
        budget: SearchBudget,
        ended: Ended,
        finalists: Sequence[Finalist],
        earlier_seconds: float,
    ) -> OptimizationFolder:
        """Read the test rows, once, with the hand-written prompt and with the chosen one."""
        rows, judge = self._desk.rows, self._desk.judge
        chosen = finalists[0]
        best_task = self._writer.task(chosen.candidate)
        spent = SpentRecord(
            calls=budget.calls_spent,
            seconds=budget.seconds_spent,
            money=budget.money_spent,
            ended_by=ended,
        )
        reads = count_test_read(folder.path, rows.test_hash)
        is_hand_written = chosen.candidate == trials.base
        self._sink.emit(StageStarted("test", 1 if is_hand_written else 2, "prompts"))
        started = time.perf_counter()
        theirs = judge.evaluate(self._task, rows.test)
        ours = theirs if is_hand_written else judge.evaluate(best_task, rows.test)
        self._sink.emit(StageFinished("test", time.perf_counter() - started))
        evaluations = {TEXT_PROMPT: theirs, OPTIMIZED_PROMPT: ours}
        seconds = earlier_seconds + time.perf_counter() - self._started
        result = self._result(trials, finalists, evaluations, spent, reads, seconds)
        folder.save_task(best_task)
        model, run = self._desk.model, folder.plan.run
        if model is not None and run is not None:
            hand_written = next(each for each in finalists if each.candidate == trials.base)
            loss = hand_written.found.mean_log_loss
            save_as_run(
                folder, run, model, best_task, result, evaluations, rows.test, validation_log_loss=loss
            )
        # Last, as it marks the search as finished.
        folder.save_result(result)
        return folder

    def _result(
        self,
        trials: Trials,
        finalists: Sequence[Finalist],
        evaluations: Mapping[str, Evaluation],
        spent: SpentRecord,
        test_reads: int,
        seconds: float,
    ) -> OptimizationResult:
        rows, metric = self._desk.rows, self._task.scoring
        chosen, seed = finalists[0], self._options.tuning.seed
        scores = [_score_record(evaluations[way], metric, seed) for way in (TEXT_PROMPT, OPTIMIZED_PROMPT)]
        return OptimizationResult(
            task=self._task.name,
            model=self._desk.name,
            metric=metric.name,
            digits=metric.digits,
            higher_is_better=metric.higher_is_better,
            strategies=tuple(strategy.name for strategy in self._strategies),
            proposer=self._proposer.name,
            num_train=len(rows.train),
            num_scored=len(trials.rows.scored),
            num_validation=self._shares.num_validation,
            num_test=len(rows.test),
            spent=spent,
            num_candidates=trials.num_prompts,
            num_rejected=trials.num_prompts - sum(trial.is_complete for trial in trials.history),
            finalists=tuple(each.record(self._writer, is_chosen=each is chosen) for each in finalists),
            prompt=self._writer.task(chosen.candidate).prompt,
            is_hand_written=chosen.candidate == trials.base,
            hand_written=scores[0],
            optimized=scores[1],
            verdict=verdict_on(OPTIMIZED_PROMPT, evaluations, metric, seed=seed, margin=self._task.margin),
            test_reads=test_reads,
            seconds=seconds,
        )


def _score_record(found: Evaluation, metric: Metric, seed: int) -> ScoreRecord:
    interval = score_interval(found, metric, np.random.default_rng(seed))
    return ScoreRecord(score=found.mean_score, low=interval.low, high=interval.high)
