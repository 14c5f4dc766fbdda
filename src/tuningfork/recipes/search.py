"""Which soft prompt: methods and learning rates against each other, then seeds of the winner.

Successive halving: every candidate runs a quarter of the steps, the better half of them half, the better half
of these all (Jamieson, Talwalkar 2016, "Non-stochastic Best Arm Identification and Hyperparameter
Optimization", arXiv 1502.07943). With few rows a candidate is one training for each fold of a
cross-validation, judged by all held-out rows together. Trainings whose rows can share forwards run side by
side, in banks. Each training has a checkpoint, so what was run is never run again, also not after a crash.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

from tuningfork.events import EventSink, Notice, StageFinished, StageStarted
from tuningfork.library.run_folder import RunFolder
from tuningfork.recipes.search_space import SearchSpace
from tuningfork.recipes.spending import Budget
from tuningfork.training.checkpoint import Checkpoint, Validation, pooled
from tuningfork.training.loop import (
    Assignment,
    Candidate,
    Training,
    TrainingOutcome,
    Validate,
    log_loss_score,
    selection_score,
    train_bank,
)
from tuningfork.tuning.soft.method import KINDS_WITH_OWN_FORWARDS
from tuningfork.tuning.weights.low_rank import WithLowRank
from tuningfork.types import TrainingRow

_RUNGS = (0.25, 0.5, 1.0)


@dataclass(frozen=True)
class CandidateOutcome:
    """Where a candidate stands after a stage, over its folds."""

    candidate: Candidate
    trainings: tuple[TrainingOutcome, ...]
    """One for each fold."""
    until_step: int
    """Last step of the stage; later validations, of a run that had gone further, do not count."""
    higher_is_better: bool

    @cached_property
    def validations(self) -> Mapping[int, Validation]:
        """What all held-out rows together say, by step."""
        by_fold = [training.progress.validations for training in self.trainings]
        steps = sorted(set[int].intersection(*map(set, by_fold)))
        return {step: pooled([fold[step] for fold in by_fold]) for step in steps if step <= self.until_step}

    @cached_property
    def best_step(self) -> int:
        """The first step that no other beats."""
        return max(self.validations, key=lambda step: self.quality(self.validations[step]))

    @property
    def best(self) -> Validation:
        """The validation at the best step."""
        return self.validations[self.best_step]

    @property
    def steps(self) -> int:
        """Steps of the longest of its trainings."""
        return max(training.progress.step for training in self.trainings)

    @property
    def seconds(self) -> float:
        """Time that its trainings took."""
        return sum(training.progress.seconds for training in self.trainings)

    @property
    def rank(self) -> tuple[float, float]:
        """Higher is better; equal scores are told apart by their log-loss."""
        return self.quality(self.best), -self.best.log_loss

    def has_stalled(self, patience: int) -> bool:
        """Whether the last `patience` validations in a row brought nothing better; 0 never stalls."""
        since = sum(step > self.best_step for step in self.validations)
        return patience > 0 and since >= patience

    def quality(self, validation: Validation) -> float:
        """What candidates are chosen by; higher is better.

        Folds are only made of rows too few for their metric, however often they are divided anew.
        """
        if len(self.trainings) > 1:
            return log_loss_score(validation)
        return selection_score(validation, higher_is_better=self.higher_is_better)


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found."""

    winner: CandidateOutcome
    """The best on validation; its figures there speak for the setting."""
    seeds: list[TrainingOutcome]
    """Trainings of the winner's setting; the first is the one to use."""


@dataclass(frozen=True, slots=True)
class _Job:
    """One training that a search needs."""

    candidate: Candidate
    rows: Sequence[TrainingRow]
    validate: Validate | None


class Search:
    """Runs the candidates of one run; everything it does can be taken up again from their checkpoints."""

    def __init__(
        self, space: SearchSpace, folder: RunFolder, sink: EventSink, *, budget: Budget | None = None
    ) -> None:
        """A search that trains no further candidates once `budget` has only time left for the seeds."""
        self._space = space
        self._folder = folder
        self._sink = sink
        self._budget = budget or Budget(None)
        self.outcomes: dict[str, CandidateOutcome] = {}
        """Every candidate that was judged on validation, as its last stage left it."""
        self.cut_short: set[str] = set()
        """Candidates that were not trained, or not as far as they were to be, because time was up."""

    def run(self, candidates: Sequence[Candidate]) -> SearchResult:
        """Halve `candidates`, then train the seeds of the winner."""
        model, options = self._space.model, self._space.options
        with ExitStack() as stack:
            contexts = stack.enter_context(model.keeping_contexts(options.context_cache_mb * 10**6))
            if options.gradient_checkpointing:
                stack.enter_context(model.recomputing_layers())
            result = self._run(candidates)
        if kept := len(contexts):
            size, share = contexts.num_bytes / 1e6, contexts.num_bytes / kept / 1e3
            self._sink.emit(
                Notice(f"Context   words of rows read once: {kept} kept, {size:.1f} MB, {share:.0f} kB each")
            )
        return result

    def _run(self, candidates: Sequence[Candidate]) -> SearchResult:
        winner = self.choose(candidates)
        refit_rows = self._space.rows[winner.candidate.placement].refit
        if refit_rows is not None:
            return SearchResult(winner, self._refit(winner, refit_rows))
        first, options = winner.candidate.arguments.seed, self._space.options
        beside = [seed for seed in range(options.seed, options.seed + options.num_seeds) if seed != first]
        others = with_seeds(winner.candidate, beside[: options.num_seeds - 1])
        seeds = [winner]
        if others:
            seeds += self._stage("more seeds", others, options.max_steps, may_stop=False)
        seeds.sort(key=lambda outcome: outcome.rank, reverse=True)
        return SearchResult(winner, [outcome.trainings[0] for outcome in seeds])

    def choose(self, candidates: Sequence[Candidate]) -> CandidateOutcome:
        """Halve `candidates` until one is left."""
        alive = list(candidates)
        ranked: list[CandidateOutcome] = []
        steps = self._space.options.max_steps
        rungs = [max(1, round(fraction * steps)) for fraction in _RUNGS] if len(alive) > 1 else [steps]
        reached = 0
        for rung in dict.fromkeys(rungs):
            while reached < rung:
                reached = self._next_stop(alive, reached, rung)
                ranked = self._stage(f"tune to step {reached}", alive, reached)
            keep = max(1, (len(ranked) + 1) // 2)
            alive = [outcome.candidate for outcome in ranked[:keep]]
        return ranked[0]

    def _next_stop(self, alive: Sequence[Candidate], reached: int, rung: int) -> int:
        """How far to train before the folds are judged: to the rung, or where a last candidate may stall."""
        arguments = alive[0].arguments
        if len(alive) > 1 or self._space.num_folds == 1 or not arguments.patience:
            return rung
        outcome = self.outcomes.get(alive[0].name)
        best_step = 0 if outcome is None else outcome.best_step
        stall = best_step + arguments.patience * arguments.validate_every
        return stall if reached < stall < rung else rung

    def _stage(
        self, name: str, candidates: Sequence[Candidate], until: int, *, may_stop: bool = True
    ) -> list[CandidateOutcome]:
        """Train `candidates` up to a step, and rank them; some are left out if it `may_stop` and must."""
        going = [candidate for candidate in candidates if not self._has_stalled(candidate)]
        before = {candidate.name: self.outcomes.get(candidate.name) for candidate in going}
        done = sum(outcome.until_step for outcome in before.values() if outcome is not None)
        total = (until * len(going) - done) * self._space.num_folds
        self._sink.emit(StageStarted(name, total, "steps"))
        jobs = [job for candidate in going for job in self._jobs(candidate)]
        trained = self._train_in_time(jobs, until) if may_stop else dict(enumerate(self._train(jobs, until)))
        by_place = iter(range(len(jobs)))
        for candidate in going:
            places = list(islice(by_place, self._space.num_folds))
            if not trained.keys() >= set(places):
                self.cut_short.add(candidate.name)
                continue
            trainings = tuple(trained[place] for place in places)
            self.outcomes[candidate.name] = CandidateOutcome(
                candidate, trainings, until, self._space.higher_is_better
            )
        outcomes = [self.outcomes[c.name] for c in candidates if c.name in self.outcomes]
        earlier = sum(outcome.seconds for outcome in before.values() if outcome is not None)
        now = sum(self.outcomes[name].seconds for name in before if name in self.outcomes)
        self._sink.emit(StageFinished(name, now - earlier))
        return sorted(outcomes, key=lambda outcome: outcome.rank, reverse=True)

    def _has_stalled(self, candidate: Candidate) -> bool:
        """Whether its folds together are past their best; a single training stops itself, by its metric."""
        if self._space.num_folds == 1:
            return False
        outcome = self.outcomes.get(candidate.name)
        return outcome is not None and outcome.has_stalled(candidate.arguments.patience)

    def _jobs(self, candidate: Candidate) -> list[_Job]:
        """What is to be trained of a candidate: once for each fold."""
        folds = self._space.rows[candidate.placement].folds
        if len(folds) == 1:
            return [_Job(candidate, folds[0].rows, folds[0].validate)]
        # No fold stops early on its own: the folds are judged together, step by step.
        arguments = replace(candidate.arguments, patience=0)
        stem, _, seed = candidate.name.rpartition("-seed")
        return [
            _Job(
                replace(candidate, name=f"{stem}-fold{number}-seed{seed}", arguments=arguments),
                fold.rows,
                fold.validate,
            )
            for number, fold in enumerate(folds, start=1)
        ]

    def _refit(self, winner: CandidateOutcome, rows: Sequence[TrainingRow]) -> list[TrainingOutcome]:
        """The winner's setting on all rows, stopped at the step that was best when some were held out.

        Nothing is left to choose among these seeds by, so the first is taken.
        """
        steps = winner.best_step
        seeds = refit_candidates(winner.candidate, steps, self._space.options.num_seeds)
        self._sink.emit(StageStarted("train on all rows", steps * len(seeds), "steps"))
        outcomes = self._train([_Job(candidate, rows, None) for candidate in seeds], steps)
        self._sink.emit(StageFinished("train on all rows", sum(o.progress.seconds for o in outcomes)))
        return outcomes

    def _train(self, jobs: Sequence[_Job], until: int) -> list[TrainingOutcome]:
        """Train up to a step, as many side by side as the options allow."""
        outcomes: dict[int, TrainingOutcome] = {}
        for bank in self._banks(jobs):
            outcomes.update(self._train_bank(jobs, bank, until))
        return [outcomes[place] for place in range(len(jobs))]

    def _train_in_time(self, jobs: Sequence[_Job], until: int) -> dict[int, TrainingOutcome]:
        """As `_train`, by place in `jobs`, but without banks whose turn comes when time is up.

        The first candidate that is judged is never left out, and neither is what stands at that step already.
        """
        outcomes: dict[int, TrainingOutcome] = {}
        for bank in self._banks(jobs):
            has_judged = bool(self.outcomes) or len(outcomes) >= self._space.num_folds
            is_up = has_judged and self._is_time_up(outcomes.values(), until)
            if not is_up or all(self._stands_at(jobs[place].candidate, until) for place in bank):
                outcomes.update(self._train_bank(jobs, bank, until))
        return outcomes

    def _train_bank(
        self, jobs: Sequence[_Job], bank: Sequence[int], until: int
    ) -> dict[int, TrainingOutcome]:
        trained = train_bank(
            [self._assignment(jobs[place]) for place in bank],
            metric=self._space.metric,
            sink=self._sink,
            until_step=until,
        )
        return dict(zip(bank, trained, strict=True))

    def _is_time_up(self, trained: Iterable[TrainingOutcome], until: int) -> bool:
        """Whether the budget has no more time than the seeds of a winner will take."""
        known = [*trained, *(t for outcome in self.outcomes.values() for t in outcome.trainings)]
        steps = sum(training.progress.step for training in known)
        pace = sum(training.progress.seconds for training in known) / max(1, steps)
        return self._budget.is_spent(reserve=pace * until * self._space.options.num_seeds)

    def _stands_at(self, candidate: Candidate, until: int) -> bool:
        """Whether a checkpoint says that nothing is left to train up to this step."""
        path = self._folder.checkpoint_path(candidate.name)
        if not path.exists():
            return False
        progress = Checkpoint.load(path).progress
        return progress.is_finished or progress.step >= until

    def _banks(self, jobs: Sequence[_Job]) -> list[list[int]]:
        """Which of `jobs` run side by side, in the order of the first of each."""
        size = self._space.options.bank_size if self._space.model.support.path == "shared" else 1
        alone = [
            place
            for place, job in enumerate(jobs)
            if job.candidate.method.kind in KINDS_WITH_OWN_FORWARDS
            or isinstance(job.candidate.method, WithLowRank)
        ]
        shared = [place for place in range(len(jobs)) if place not in alone]
        banks = [shared[start : start + size] for start in range(0, len(shared), size)]
        return sorted([*banks, *([place] for place in alone)])

    def _assignment(self, job: _Job) -> Assignment:
        space = self._space
        training = Training(space.model, job.candidate, job.rows, higher_is_better=space.higher_is_better)
        return Assignment(training, job.validate, self._folder.checkpoint_path(job.candidate.name))


def refit_candidates(chosen: Candidate, steps: int, num_seeds: int) -> list[Candidate]:
    """What was chosen for so many trainings on all rows to step `steps`, each with a seed of its own.

    At step 0 there is no order of the rows yet that seeds could differ in, so there is one.
    """
    first = chosen.arguments.seed
    renamed = replace(chosen, name=chosen.name.replace("-seed", "-all-seed"))
    return with_seeds(renamed, range(first, first + (num_seeds if steps else 1)))


def with_seeds(candidate: Candidate, seeds: Iterable[int]) -> list[Candidate]:
    """`candidate` with each of `seeds`."""
    stem = candidate.name.rpartition("-seed")[0]
    return [
        replace(candidate, name=f"{stem}-seed{seed}", arguments=replace(candidate.arguments, seed=seed))
        for seed in seeds
    ]
