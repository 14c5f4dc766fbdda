"""Ways of prompting with words, which need no training."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import ClassVar

import torch

from tuningfork.atomic import write_text
from tuningfork.errors import RunError
from tuningfork.evaluation.comparison import TEXT_PROMPT, Family, Setting
from tuningfork.evaluation.evaluate import Evaluator
from tuningfork.evaluation.tagging import evaluator_for
from tuningfork.library.run_records import NO_PROMPT
from tuningfork.models.prefix import PrefixState
from tuningfork.recipes.baselines import FewShot as Chosen
from tuningfork.recipes.baselines import choose_few_shot, fits_few_shot
from tuningfork.recipes.contestants.contestant import Arena, Made, search_setting
from tuningfork.recipes.most_frequent_tag import baseline_prefix
from tuningfork.recipes.spending import budget_of
from tuningfork.training.checkpoint import Validation
from tuningfork.types import TokenIds

FEW_SHOT = "few-shot"
_CHOICE = "choice.json"


class NoPrompt:
    """The row alone, in the model's own chat format."""

    name: ClassVar[str] = NO_PROMPT
    family: ClassVar[Family] = "words"

    def reason_to_leave_out(self, arena: Arena) -> str | None:
        """Why words cannot answer here."""
        return _reason_against_words(arena)

    def make(self, arena: Arena, work: Path) -> Made:
        """Nothing but what opens every row."""
        return _prompted(arena, arena.prepared.renderer.bare_prefix_ids, stored_bytes=0)


class TextPrompt:
    """The task's prompt as it is written.

    Where words are tagged, no words say tags: there the most frequent tag of the training rows stands for it.
    """

    name: ClassVar[str] = TEXT_PROMPT
    family: ClassVar[Family] = "words"

    def reason_to_leave_out(self, arena: Arena) -> str | None:
        """Why words cannot answer here."""
        return None if arena.prepared.task.has_tags else _reason_against_words(arena)

    def make(self, arena: Arena, work: Path) -> Made:
        """The prompt of the task."""
        renderer = arena.prepared.renderer
        if not arena.prepared.task.has_tags:
            return _prompted(arena, renderer.prefix_ids, stored_bytes=len(renderer.prefix_text.encode()))
        prefix = baseline_prefix(arena.prepared, arena.model)
        return _answering(arena, prefix, {"answer": "always the most frequent tag"}, stored_bytes=0)


class FewShot:
    """Training rows with their answers in front of the row; held-out rows choose how many."""

    name: ClassVar[str] = FEW_SHOT
    family: ClassVar[Family] = "words"

    def reason_to_leave_out(self, arena: Arena) -> str | None:
        """Why no demonstrations can be shown here."""
        reason = _reason_against_words(arena)
        if reason is None and arena.model.architecture == "encoder":
            return "an encoder fills the gap of one text and is shown no others"
        if reason is None and not fits_few_shot(arena.prepared, seed=arena.options.seed):
            return "not even two demonstrations fit into the model with a row behind them"
        return reason

    def make(self, arena: Arena, work: Path) -> Made:
        """The best number of demonstrations.

        Raises:
            RunError: if what was chosen before a kill cannot be read.
        """
        chosen = _chosen_before(work)
        if chosen is None:
            chosen = choose_few_shot(
                arena.prepared,
                arena.model,
                _evaluator(arena),
                seed=arena.options.seed,
                sink=arena.sink,
                budget=budget_of(arena.budget_seconds, work),
            )
            assert chosen is not None, "what does not fit is left out"
            # So that whoever goes on after a kill does not take the time, and count it, twice.
            write_text(work / _CHOICE, json.dumps(asdict(chosen)))
        with torch.no_grad():
            prefix = arena.model.prefix([chosen.prefix_ids])
        return _answering(
            arena,
            prefix,
            {
                "demonstrations": chosen.num_demonstrations,
                **search_setting(chosen.num_candidates, chosen.num_cut_short),
            },
            stored_bytes=chosen.stored_bytes,
            validation=chosen.validation,
        )


def _chosen_before(work: Path) -> Chosen | None:
    path = work / _CHOICE
    if not path.is_file():
        return None
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        validation = fields.pop("validation")
        tempered = tuple(validation.pop("tempered"))
        return Chosen(**fields, validation=Validation(**validation, tempered=tempered))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunError(f"{path}: cannot be read ({error}); remove it to choose anew") from error


def _reason_against_words(arena: Arena) -> str | None:
    if arena.prepared.task.has_tags:
        return "words are tagged, which no prompt of words does"
    return None if arena.model.says_words else "this model says no words"


def _evaluator(arena: Arena) -> Evaluator:
    return evaluator_for(arena.model, arena.prepared.task, arena.prepared.renderer)


@torch.no_grad()
def _prompted(arena: Arena, prefix_ids: TokenIds, *, stored_bytes: int) -> Made:
    prefix = arena.model.prefix([prefix_ids])
    return _answering(arena, prefix, {}, stored_bytes=stored_bytes)


@torch.no_grad()
def _answering(
    arena: Arena,
    prefix: PrefixState,
    setting: Mapping[str, Setting],
    *,
    stored_bytes: int,
    validation: Validation | None = None,
) -> Made:
    """What answers behind `prefix`; without `validation`, held-out rows are asked now."""
    evaluator, prepared = _evaluator(arena), arena.prepared
    if validation is None:
        generates = not prepared.is_cross_validated
        validation = evaluator.validate(prefix, prepared.validation, generates=generates)
    return Made(
        answers={arena.options.seed: partial(evaluator.evaluate, prefix)},
        setting=setting,
        validation=validation,
        stored_bytes=stored_bytes,
        prompt_tokens=prefix.num_tokens,
        respond=partial(evaluator.predict, prefix),
    )
