"""Soft prompts as contestants: one for each method, its settings searched as `tune` searches them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from tuningfork.errors import ModelError, PromptError
from tuningfork.evaluation.comparison import Family, Setting
from tuningfork.evaluation.tagging import evaluator_for
from tuningfork.library.artefact_files import save_artefact
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import TuneOptions
from tuningfork.recipes.contestants.contestant import (
    Arena,
    Made,
    search_setting,
    seconds_to_best,
)
from tuningfork.recipes.contestants.trained import answer_of, judge_of, prefix_of
from tuningfork.recipes.search import CandidateOutcome, Search
from tuningfork.recipes.search_space import SearchSpace, plan_candidates, search_space
from tuningfork.recipes.spending import budget_of
from tuningfork.training.loop import Candidate, TrainingOutcome
from tuningfork.tuning.soft.defaults import NUM_PLACED_TOKENS, SEARCHED_METHODS, SEARCHED_PLACEMENTS
from tuningfork.tuning.soft.method import ShowsRows, title_of
from tuningfork.tuning.soft.registry import get_soft_method

_WITHOUT_ADAPTERS: Mapping[str, Any] = {
    "lora_rank": None,
    "lora_alpha": None,
    "lora_learning_rates": (),
    "lora_targets": (),
    "lora_alone": False,
}
"""Adapters are contestants of their own."""


@dataclass(frozen=True, slots=True)
class SoftPrompts:
    """All placements and learning rates of one soft-prompt method; the best on held-out rows is trained."""

    method: str

    family: ClassVar[Family] = "soft"

    @property
    def name(self) -> str:
        """As the paper calls it."""
        return title_of(get_soft_method(self.method))

    def reason_to_leave_out(self, arena: Arena) -> str | None:
        """What the model or the task lacks for this method."""
        try:
            self.plan(arena)
        except (PromptError, ModelError) as error:
            return str(error)
        return None

    def plan(self, arena: Arena) -> tuple[SearchSpace, list[Candidate]]:
        """What would be tried.

        Raises:
            PromptError: if the method cannot be used here.
            ModelError: if gradient checkpointing is asked for and impossible here.
        """
        space = search_space(
            arena.model,
            arena.prepared,
            _options_for(self.method, arena),
            partial(judge_of, arena.model, arena.prepared),
        )
        return space, plan_candidates(space)

    def num_trainings(self, arena: Arena) -> int:
        """Every candidate in every fold, and the seeds."""
        space, candidates = self.plan(arena)
        return len(candidates) * space.num_folds + arena.options.num_seeds

    def make(self, arena: Arena, work: Path) -> Made:
        """Search, then train every seed of the best setting; checkpoints lie in `work`."""
        space, candidates = self.plan(arena)
        budget = budget_of(arena.budget_seconds, work)
        folder = RunFolder(work)
        folder.finish_checkpoints()
        search = Search(space, folder, arena.sink, budget=budget)
        found = search.run(candidates)
        chosen = found.winner.candidate
        renderer = space.rows[chosen.placement].arrangement.renderer
        evaluator = evaluator_for(arena.model, arena.prepared.task, renderer)
        by_seed = sorted(found.seeds, key=lambda seed: seed.candidate.arguments.seed)
        first = by_seed[0]
        prefix = prefix_of(arena.model, first)
        return Made(
            answers={
                seed.candidate.arguments.seed: answer_of(arena.model, evaluator, seed) for seed in by_seed
            },
            setting=_setting(found.winner, first, search, len(candidates)),
            validation=found.winner.best,
            seconds_to_best=seconds_to_best(first.progress),
            trained_parameters=first.num_trained_parameters,
            stored_bytes=_stored_bytes(first, work),
            prompt_tokens=prefix.num_tokens,
            respond=partial(evaluator.predict, prefix),
        )


def soft_prompts(options: TuneOptions) -> list[SoftPrompts]:
    """One contestant for each method that was asked for, or that `tune` tries when none is named."""
    return [SoftPrompts(method) for method in options.methods or SEARCHED_METHODS]


def _options_for(method: str, arena: Arena) -> TuneOptions:
    """The options of all, for one method alone, with the placements that it is tried with if none is named.

    Methods at the input are tried where `tune` tries them, unless the task or the model has places of its
    own.
    """
    options = arena.options.model_copy(update={"methods": (method,), **_WITHOUT_ADAPTERS})
    task, prepared = arena.prepared.task, arena.prepared
    has_own_places = (
        options.placements
        or task.has_tags
        or task.template.num_virtual_tokens
        or prepared.renderer.encodes_input
    )
    soft_method = get_soft_method(method)
    if has_own_places or soft_method.kind != "input" or isinstance(soft_method, ShowsRows):
        return options
    needed = len(prepared.renderer.prefix_ids) + NUM_PLACED_TOKENS
    if prepared.room is not None and needed > prepared.room:
        return options
    return options.model_copy(update={"placements": SEARCHED_PLACEMENTS})


def _setting(
    winner: CandidateOutcome, first: TrainingOutcome, search: Search, num_candidates: int
) -> dict[str, Setting]:
    chosen = winner.candidate
    return {
        "method": chosen.method.name,
        "placement": chosen.placement,
        "learning rate": chosen.arguments.learning_rate,
        "steps": winner.best_step,
        "virtual tokens": first.prompt.num_virtual_tokens,
        **search_setting(num_candidates, len(search.cut_short)),
    }


def _stored_bytes(first: TrainingOutcome, work: Path) -> int:
    """Size of the file that the prompt is kept in."""
    path = work / "prompt.safetensors"
    save_artefact(first.prompt, path, {"method": first.candidate.method.name})
    return path.stat().st_size
