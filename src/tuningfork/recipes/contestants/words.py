"""Ways of prompting with words, which need no training."""

from functools import partial
from pathlib import Path
from typing import ClassVar

import torch

from tuningfork.evaluation.comparison import TEXT_PROMPT, Family
from tuningfork.evaluation.evaluate import Evaluator
from tuningfork.evaluation.tagging import evaluator_for
from tuningfork.library.run_records import NO_PROMPT
from tuningfork.models.prefix import PrefixState
from tuningfork.recipes.baselines import choose_few_shot, fits_few_shot
from tuningfork.recipes.contestants.contestant import Arena, Made
from tuningfork.recipes.most_frequent_tag import baseline_prefix
from tuningfork.types import TokenIds

FEW_SHOT = "few-shot"


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
        """The best number of demonstrations."""
        chosen = choose_few_shot(arena.prepared, arena.model, _evaluator(arena), seed=arena.options.seed)
        assert chosen is not None, "what does not fit is left out"
        made = _prompted(arena, chosen.prefix_ids, stored_bytes=chosen.stored_bytes)
        return Made(
            answers=made.answers,
            setting={"demonstrations": chosen.num_demonstrations},
            validation=chosen.validation,
            stored_bytes=made.stored_bytes,
            prompt_tokens=made.prompt_tokens,
            respond=made.respond,
        )


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
def _answering(arena: Arena, prefix: PrefixState, setting: dict[str, str], *, stored_bytes: int) -> Made:
    evaluator, prepared = _evaluator(arena), arena.prepared
    generates = not prepared.is_cross_validated
    return Made(
        answers={arena.options.seed: partial(evaluator.evaluate, prefix)},
        setting=setting,
        validation=evaluator.validate(prefix, prepared.validation, generates=generates),
        stored_bytes=stored_bytes,
        prompt_tokens=prefix.num_tokens,
        respond=partial(evaluator.predict, prefix),
    )
