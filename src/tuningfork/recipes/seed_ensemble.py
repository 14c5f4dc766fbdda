"""The seeds of the best setting, answering together."""

from dataclasses import dataclass

import torch

from tuningfork.errors import PromptError
from tuningfork.evaluation.ensemble import Ensemble, Member
from tuningfork.evaluation.tagging import ensemble_for
from tuningfork.events import EventSink, Notice
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.search import SearchResult
from tuningfork.tasks.rendering import RowRenderer
from tuningfork.tasks.task import Task
from tuningfork.training.checkpoint import Validation
from tuningfork.training.loop import TrainingOutcome

_FEWEST_SEEDS = 2


@dataclass(frozen=True, slots=True)
class SeedEnsemble:
    """Trainings of one setting that answer together."""

    seeds: list[TrainingOutcome]
    """The one that would answer alone comes first."""
    together: Ensemble

    @property
    def name(self) -> str:
        """As a way of prompting."""
        return f"ensemble of {len(self.seeds)} seeds"


def check_seeds(options: TuneOptions) -> None:
    """Check that an ensemble that was asked for has several members.

    Raises:
        PromptError: if it has not.
    """
    if options.ensemble and options.num_seeds < _FEWEST_SEEDS:
        raise PromptError(
            f"an ensemble is made of the seeds of the best setting and needs at least {_FEWEST_SEEDS}, "
            f"found {options.num_seeds}; raise --seeds, or leave --ensemble"
        )


@torch.no_grad()
def ensemble_of(
    found: SearchResult, model: FrozenModel, task: Task, renderer: RowRenderer, sink: EventSink
) -> SeedEnsemble | None:
    """The seeds that `found` has, without those that ended in no numbers; None if fewer than two are left."""
    first, *others = found.seeds
    seeds = [first, *(seed for seed in others if _is_finite(seed))]
    if lost := len(found.seeds) - len(seeds):
        sink.emit(Notice(f"Ensemble  {lost} of {len(found.seeds)} seeds left out: their training diverged"))
    if len(seeds) < _FEWEST_SEEDS:
        sink.emit(Notice("Ensemble  none: one seed is left, which answers alone"))
        return None
    members = [Member(model.prefix([seed.prompt]), renderer) for seed in seeds]
    return SeedEnsemble(seeds, ensemble_for(model, task, members))


def answers_for_its_best(
    found: SearchResult, ensemble: SeedEnsemble, validation: Validation | None, sink: EventSink
) -> bool:
    """Whether the ensemble is the answer of a run, in place of its first seed.

    `validation` is that of the ensemble on rows that no seed was trained on, where the better of the two is
    taken. Without such rows nothing is left to choose by, and the ensemble that was asked for is taken: the
    log-loss of a mean probability is never above the mean log-loss of its members.
    """
    count = len(ensemble.seeds)
    cost = f"{count} times the memory of one prompt, each row run {count} times"
    if validation is None:
        sink.emit(
            Notice(f"Ensemble  {count} seeds answer together, unchosen: all rows were trained on; {cost}")
        )
        return True
    alone = found.seeds[0].progress.best
    assert alone is not None
    quality = found.winner.quality
    is_better = quality(validation) > quality(alone)
    figures = f"{_described(validation)} against {_described(alone)}"
    if is_better:
        message = f"{count} seeds answer together: on validation {figures} of the best seed; {cost}"
    else:
        message = f"on validation {figures} of the best seed, which answers alone"
    sink.emit(Notice(f"Ensemble  {message}"))
    return is_better


def _described(validation: Validation) -> str:
    score = "" if validation.metric is None else f"score {validation.metric:.3f}, "
    return f"{score}log-loss {validation.log_loss:.3f}"


def _is_finite(seed: TrainingOutcome) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in seed.prompt.tensors())
