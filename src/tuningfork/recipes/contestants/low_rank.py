"""LoRA as a contestant: low-rank changes of every linear layer, learned behind the text prompt."""

from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, cast

from tuningfork.errors import PromptError
from tuningfork.evaluation.comparison import Family
from tuningfork.evaluation.tagging import evaluator_for
from tuningfork.library.formats.peft_lora import save_lora
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.artefacts import AdaptedPrompt
from tuningfork.recipes.adapters import with_adapters
from tuningfork.recipes.contestants.behind_text import (
    space_behind_text,
    text_candidate,
    why_not_behind_text,
)
from tuningfork.recipes.contestants.contestant import (
    Arena,
    Made,
    search_setting,
    seconds_to_best,
)
from tuningfork.recipes.contestants.trained import answer_of, prefix_of
from tuningfork.recipes.search import Search
from tuningfork.recipes.spending import budget_of
from tuningfork.training.loop import TrainingOutcome
from tuningfork.tuning.weights.low_rank import WithLowRank

RANK, ALPHA = 8, 16.0
LEARNING_RATES = (3e-4, 1e-3, 3e-3)


@dataclass(frozen=True, slots=True)
class LowRank:
    """LoRA of rank 8 on every linear layer, chosen and trained as prompts are.

    Source: Hu et al. 2021, arXiv 2106.09685; see `WithLowRank`. Another rank, alpha, grid of rates or choice
    of layers is taken from the options, where they name one.
    """

    name: ClassVar[str] = "LoRA"
    family: ClassVar[Family] = "weights"
    learning_rates: tuple[float, ...] = LEARNING_RATES
    """Rates to try."""

    def reason_to_leave_out(self, arena: Arena) -> str | None:
        """Why it cannot take part: no PEFT to name the layers, no layer that fits, or nothing to read."""
        if find_spec("peft") is None:
            return "PEFT is not installed: pip install 'tuningfork[peft]'"
        if (reason := why_not_behind_text(arena.model, arena.prepared)) is not None:
            return reason
        # Only now: PEFT takes seconds to load.
        from tuningfork.tuning.weights.linear_layers import linear_layers

        try:
            linear_layers(arena.model.network, arena.options.lora_targets)
        except PromptError as error:
            return str(error)
        return None

    def num_trainings(self, arena: Arena) -> int:
        """Every rate in every fold, and the seeds."""
        num_rates = len(arena.options.lora_learning_rates or self.learning_rates)
        return num_rates * len(arena.prepared.folds) + arena.options.num_seeds

    def make(self, arena: Arena, work: Path) -> Made:
        """Choose the rate and the step on held-out rows, and train every seed."""
        space = space_behind_text(arena.model, arena.prepared, _options(arena.options, self.learning_rates))
        candidates = with_adapters([], arena.model, space.options, text_candidate(space))
        budget = budget_of(arena.budget_seconds, work)
        search = Search(space, RunFolder(work), arena.sink, budget=budget)
        found = search.run(candidates)
        by_seed = {outcome.candidate.arguments.seed: outcome for outcome in found.seeds}
        stored = {seed: _save(arena, by_seed[seed], work / f"adapter-seed{seed}") for seed in by_seed}
        first = by_seed[min(by_seed)]
        settings = cast(WithLowRank, first.candidate.method).settings
        evaluator = evaluator_for(arena.model, arena.prepared.task, arena.prepared.renderer)
        prefix = prefix_of(arena.model, first)
        return Made(
            answers={seed: answer_of(arena.model, evaluator, by_seed[seed]) for seed in sorted(by_seed)},
            setting={
                "learning rate": settings.learning_rate,
                "steps": found.winner.best_step,
                "rank": settings.rank,
                "alpha": settings.alpha,
                **search_setting(len(candidates), len(search.cut_short)),
            },
            validation=found.winner.best,
            seconds_to_best=seconds_to_best(first.progress),
            trained_parameters=first.num_trained_parameters,
            stored_bytes=stored[first.candidate.arguments.seed],
            prompt_tokens=prefix.num_tokens,
            respond=partial(evaluator.predict, prefix),
        )


def _options(options: TuneOptions, learning_rates: tuple[float, ...]) -> TuneOptions:
    """The options of the comparison, with LoRA alone; what it cannot go with changes no result."""
    return options.model_copy(
        update={
            "lora_rank": options.lora_rank or RANK,
            "lora_alpha": options.lora_alpha or (None if options.lora_rank else ALPHA),
            "lora_learning_rates": options.lora_learning_rates or learning_rates,
            "lora_alone": True,
            "ensemble": False,
            "gradient_checkpointing": False,
        }
    )


def _save(arena: Arena, outcome: TrainingOutcome, folder: Path) -> int:
    """Write the adapter of a training as a PEFT folder, and return its size in bytes."""
    update = cast(AdaptedPrompt, outcome.prompt).update
    return save_lora(update, folder, base_model_name=arena.model.name)
