from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.recipes.contestants.conftest import MakeArena
from tuningfork.evaluation.evaluate import Evaluator
from tuningfork.models.artefacts import InputPrompt
from tuningfork.recipes.contestants.trained import answer_of, judge_of, prefix_of
from tuningfork.training.loop import TrainingOutcome


def outcome_of(prompt: InputPrompt) -> TrainingOutcome:
    return cast(TrainingOutcome, SimpleNamespace(prompt=prompt))


@pytest.mark.parametrize("refit", ["auto", "no"])
def test_answers_are_generated_for_held_out_rows_only_where_they_are_many(
    arena_of: MakeArena, refit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arena, asked = arena_of("generation", refit=refit), []

    def validate(*_: Any, generates: bool) -> None:
        asked.append(generates)

    monkeypatch.setattr(Evaluator, "validate", validate)
    prepared = arena.prepared
    judge = partial(judge_of, arena.model, prepared)
    judge(prepared.renderer, prepared.validation)(arena.model.prefix([prepared.renderer.prefix_ids]))
    assert asked == [refit == "no"]


def test_a_training_answers_as_the_prompt_that_it_ended_in(arena_of: MakeArena) -> None:
    arena = arena_of()
    model, renderer = arena.model, arena.prepared.renderer
    words = outcome_of(InputPrompt(model.embed(renderer.prefix_ids)))
    # The tiny model is sure of one label; of the other, small changes show.
    rows = [row for row in arena.prepared.rows if row.targets == ("tech_team",)][:4]
    evaluator = Evaluator(model, arena.prepared.task, renderer)
    expected = evaluator.evaluate(model.prefix([renderer.prefix_ids]), rows)
    found = answer_of(model, evaluator, words)(rows)
    assert found.log_losses == pytest.approx(expected.log_losses, abs=1e-4)
    prefix = prefix_of(model, words)
    assert prefix.num_tokens == len(renderer.prefix_ids)
    moved = outcome_of(InputPrompt(2 * model.embed(renderer.prefix_ids)))
    assert answer_of(model, evaluator, moved)(rows).log_losses != pytest.approx(expected.log_losses, abs=1e-3)
