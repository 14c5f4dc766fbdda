"""Which soft prompt: methods and learning rates against each other, then seeds of the winner.

Successive halving: every candidate runs a quarter of the steps, the better half of them half, the better half
of these all (Jamieson, Talwalkar 2016, "Non-stochastic Best Arm Identification and Hyperparameter
Optimization", arXiv 1502.07943). Each candidate is a training with a checkpoint, so what was run is never run
again, also not after a crash.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch

from tuningfork.events import EventSink, StageFinished, StageStarted
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.frozen import FrozenModel
from tuningfork.training.arguments import TrainingArguments
from tuningfork.training.loop import Candidate, Training, TrainingOutcome, Validate, selection_score, train
from tuningfork.training.objectives import Objective
from tuningfork.tuning.soft.defaults import (
    LEARNING_RATES,
    NUM_VIRTUAL_TOKENS_WITHOUT_TEXT,
)
from tuningfork.tuning.soft.initializers import Start, initial_embeddings
from tuningfork.tuning.soft.registry import SOFT_METHODS, get_soft_method
from tuningfork.types import TokenIds, TrainingRow

_RUNGS = (0.25, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """What the candidates of one run share."""

    model: FrozenModel
    rows: Sequence[TrainingRow]
    text_ids: TokenIds
    label_ids: Sequence[TokenIds]
    objective: Objective
    options: TuneOptions
    metric: str
    higher_is_better: bool
    refit_rows: Sequence[TrainingRow] | None = None
    """All rows, where there are so few that the chosen setting is trained on the validation rows too."""


def plan_candidates(space: SearchSpace) -> list[Candidate]:
    """Every method with every learning rate, all from the same start.

    Raises:
        PromptError: if a method or the initialisation is unknown or impossible here.
    """
    options = space.options
    methods = options.methods or tuple(
        name
        for name, method in SOFT_METHODS.items()
        if space.model.support.path == "shared" or method.kind == "input"
    )
    embeddings = initial_embeddings(
        options.initialization,
        Start(
            model=space.model,
            num_virtual_tokens=options.num_virtual_tokens
            or len(space.text_ids)
            or NUM_VIRTUAL_TOKENS_WITHOUT_TEXT,
            text_ids=space.text_ids,
            label_ids=space.label_ids,
            generator=torch.Generator().manual_seed(options.seed),
        ),
    )
    candidates = [
        Candidate(
            name=f"{method.name}-lr{rate:g}-seed{options.seed}",
            method=method,
            embeddings=embeddings,
            arguments=_arguments(options, rate),
            objective=space.objective,
        )
        for method in map(get_soft_method, methods)
        for rate in options.learning_rates or LEARNING_RATES[method.name]
    ]
    return list({candidate.name: candidate for candidate in candidates}.values())


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found."""

    winner: TrainingOutcome
    """The best on validation; its figures there speak for the setting."""
    seeds: list[TrainingOutcome]
    """Trainings of the winner's setting; the first is the one to use."""


class Search:
    """Runs the candidates of one run; everything it does can be taken up again from their checkpoints."""

    def __init__(self, space: SearchSpace, folder: RunFolder, validate: Validate, sink: EventSink) -> None:
        self._space = space
        self._folder = folder
        self._validate = validate
        self._sink = sink
        self.outcomes: dict[str, TrainingOutcome] = {}

    def run(self, candidates: Sequence[Candidate]) -> SearchResult:
        """Halve `candidates`, then train the seeds of the winner."""
        alive = list(candidates)
        ranked: list[TrainingOutcome] = []
        steps = self._space.options.max_steps
        rungs = [max(1, round(fraction * steps)) for fraction in _RUNGS] if len(alive) > 1 else [steps]
        for until in dict.fromkeys(rungs):
            ranked = self._stage(f"tune to step {until}", alive, until)
            keep = max(1, (len(ranked) + 1) // 2)
            alive = [outcome.candidate for outcome in ranked[:keep]]
        winner = ranked[0]
        if self._space.refit_rows is not None and winner.progress.best_step > 0:
            return SearchResult(winner, self._refit(winner, self._space.refit_rows))
        first = winner.candidate.arguments.seed
        others = _with_seeds(winner.candidate, range(first + 1, first + self._space.options.num_seeds))
        if others:
            self._stage("more seeds", others, winner.candidate.arguments.max_steps)
        seeds = self._ranked([self.outcomes[c.name] for c in (winner.candidate, *others)])
        return SearchResult(winner, seeds)

    def _refit(self, winner: TrainingOutcome, rows: Sequence[TrainingRow]) -> list[TrainingOutcome]:
        """The winner's setting on all rows, for as many steps as were best when some were held out.

        The learning rate falls to its end within these steps: there is no best step to go back to.
        Nothing is left to choose among these seeds by, so the first is taken.
        """
        first, steps = winner.candidate.arguments.seed, winner.progress.best_step
        renamed = replace(
            winner.candidate,
            name=winner.candidate.name.replace("-seed", "-all-seed"),
            arguments=replace(winner.candidate.arguments, max_steps=steps),
        )
        seeds = _with_seeds(renamed, range(first, first + self._space.options.num_seeds))
        self._sink.emit(StageStarted("train on all rows", steps * len(seeds), "steps"))
        outcomes = [self._train(candidate, steps, rows) for candidate in seeds]
        self._sink.emit(StageFinished("train on all rows", sum(o.progress.seconds for o in outcomes)))
        return outcomes

    def _stage(self, name: str, candidates: Sequence[Candidate], until: int) -> list[TrainingOutcome]:
        """Train `candidates` up to a step and rank them.

        The ranking is written down: a run that is taken up later may find trainings that have gone further
        since, and must not rank them by what they became.
        """
        self._sink.emit(StageStarted(name, until * len(candidates), "steps"))
        before = sum(outcome.progress.seconds for outcome in self.outcomes.values())
        outcomes = {candidate.name: self._train(candidate, until) for candidate in candidates}
        after = sum(outcome.progress.seconds for outcome in self.outcomes.values())
        self._sink.emit(StageFinished(name, after - before))
        ranking = self._folder.load_ranking(name)
        if ranking is None:
            ranking = [outcome.candidate.name for outcome in self._ranked(list(outcomes.values()))]
            self._folder.save_ranking(name, ranking)
        return [outcomes[candidate] for candidate in ranking]

    def _train(
        self, candidate: Candidate, until: int, refit_rows: Sequence[TrainingRow] | None = None
    ) -> TrainingOutcome:
        space = self._space
        rows = space.rows if refit_rows is None else refit_rows
        outcome = train(
            Training(space.model, candidate, rows, higher_is_better=space.higher_is_better),
            self._validate if refit_rows is None else None,
            metric=space.metric,
            sink=self._sink,
            checkpoint_path=self._folder.checkpoint_path(candidate.name),
            until_step=until,
        )
        self.outcomes[candidate.name] = outcome
        return outcome

    def _ranked(self, outcomes: Sequence[TrainingOutcome]) -> list[TrainingOutcome]:
        def quality(outcome: TrainingOutcome) -> tuple[float, float]:
            best = outcome.progress.best
            if best is None:
                return -math.inf, -math.inf
            return selection_score(best, higher_is_better=self._space.higher_is_better), -best.log_loss

        return sorted(outcomes, key=quality, reverse=True)


def _with_seeds(candidate: Candidate, seeds: Iterable[int]) -> list[Candidate]:
    stem = candidate.name.rpartition("-seed")[0]
    return [
        replace(candidate, name=f"{stem}-seed{seed}", arguments=replace(candidate.arguments, seed=seed))
        for seed in seeds
    ]


def _arguments(options: TuneOptions, learning_rate: float) -> TrainingArguments:
    return TrainingArguments(
        learning_rate=learning_rate,
        max_steps=options.max_steps,
        batch_size=options.batch_size,
        micro_batch_size=options.micro_batch_size,
        schedule=options.schedule,
        weight_decay=options.weight_decay,
        validate_every=options.validate_every,
        patience=options.patience,
        checkpoint_every=options.checkpoint_every,
        seed=options.seed,
    )
