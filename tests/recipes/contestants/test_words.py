from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.recipes.conftest import RecordingSink
from tests.recipes.contestants.conftest import MakeArena
from tuningfork.errors import RunError
from tuningfork.evaluation.evaluate import Evaluator
from tuningfork.events import StageAdvanced, StageFinished, StageStarted
from tuningfork.recipes.contestants.contestant import Contestant
from tuningfork.recipes.contestants.words import FewShot, NoPrompt, TextPrompt

WORDS: list[Contestant] = [NoPrompt(), TextPrompt(), FewShot()]


@pytest.mark.parametrize("kind", ["generation", "extraction", "messages"])
@pytest.mark.parametrize("contestant", WORDS, ids=lambda one: one.name)
def test_words_answer_every_kind_of_task(
    contestant: Contestant, kind: str, arena_of: MakeArena, tmp_path: Path
) -> None:
    arena = arena_of(kind)
    made = contestant.make(arena, tmp_path)
    assert made.respond is not None
    rows = list(arena.prepared.rows)[:2]
    said = [prediction.text for prediction in made.respond(rows)]
    assert said == made.answers[arena.options.seed](rows).predictions


def test_what_stands_in_front_is_counted_and_stored(arena_of: MakeArena, tmp_path: Path) -> None:
    arena = arena_of()
    renderer = arena.prepared.renderer
    bare, text, shown = (contestant.make(arena, tmp_path) for contestant in WORDS)
    assert bare.prompt_tokens == len(renderer.bare_prefix_ids)
    assert text.prompt_tokens == len(renderer.prefix_ids)
    assert text.stored_bytes == len(renderer.prefix_text.encode())
    assert bare.stored_bytes == 0
    assert shown.prompt_tokens is not None
    assert shown.prompt_tokens > len(renderer.prefix_ids)


def test_the_text_prompt_is_not_the_bare_row(arena_of: MakeArena, tmp_path: Path) -> None:
    arena = arena_of()
    bare, text = (one.make(arena, tmp_path).validation for one in WORDS[:2])
    assert bare is not None
    assert text is not None
    assert bare.log_loss != pytest.approx(text.log_loss, rel=1e-3)
    assert bare.num_rows == text.num_rows == len(arena.prepared.validation)


def test_number_of_demonstrations_is_that_with_the_lowest_log_loss(
    arena_of: MakeArena, tmp_path: Path
) -> None:
    arena = arena_of()
    made = FewShot().make(arena, tmp_path)
    assert made.validation is not None
    assert made.setting["demonstrations"] in (2, 4, 8, 12)
    assert made.validation.num_rows == len(arena.prepared.rows)


def test_what_was_chosen_before_a_kill_is_not_chosen_again(
    arena_of: MakeArena, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arena = arena_of()
    first = FewShot().make(arena, tmp_path)

    def validate(*_: object, **__: object) -> None:
        raise AssertionError("held-out rows were asked again")

    monkeypatch.setattr(Evaluator, "validate", validate)
    again = FewShot().make(arena, tmp_path)
    assert (again.setting, again.validation) == (first.setting, first.validation)
    assert (again.stored_bytes, again.prompt_tokens) == (first.stored_bytes, first.prompt_tokens)
    rows = list(arena.prepared.rows)[:4]
    assert again.answers[0](rows).log_losses == first.answers[0](rows).log_losses
    (tmp_path / "choice.json").write_text('{"num_demonstrations": 2}', encoding="utf-8")
    with pytest.raises(RunError, match=r"choice\.json: cannot be read .*; remove it to choose anew"):
        FewShot().make(arena, tmp_path)


def test_held_out_rows_are_asked_once_for_each_number_of_demonstrations(
    arena_of: MakeArena, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arena, asked, validate = arena_of(), [], Evaluator.validate

    def counted(self: Evaluator, *given: Any, **options: Any) -> Any:
        asked.append(len(given[1]))
        return validate(self, *given, **options)

    monkeypatch.setattr(Evaluator, "validate", counted)
    made = FewShot().make(arena, tmp_path)
    assert asked == [len(fold.validation) for fold in arena.prepared.folds] * int(made.setting["candidates"])


def test_a_spent_budget_ends_the_choice_and_that_is_said(arena_of: MakeArena, tmp_path: Path) -> None:
    made = FewShot().make(replace(arena_of(), budget_seconds=1e-9), tmp_path)
    assert made.setting == {"demonstrations": 2, "candidates": 4, "cut short by the budget": 3}


def test_choosing_is_told_of(arena_of: MakeArena, tmp_path: Path, sink: RecordingSink) -> None:
    FewShot().make(arena_of(), tmp_path)
    stages = [
        event for event in sink.events if isinstance(event, StageStarted | StageAdvanced | StageFinished)
    ]
    assert [type(event).__name__ for event in stages] == [
        "StageStarted",
        *["StageAdvanced"] * 4,
        "StageFinished",
    ]
    assert {event.name for event in stages} == {"choose demonstrations"}


def test_demonstrations_that_do_not_fit_are_left_out(arena_of: MakeArena) -> None:
    arena = arena_of()
    tight = replace(arena, prepared=replace(arena.prepared, room=5))
    assert FewShot().reason_to_leave_out(tight) == (
        "not even two demonstrations fit into the model with a row behind them"
    )
    assert FewShot().reason_to_leave_out(arena) is None
