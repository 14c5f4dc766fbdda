import math
from dataclasses import replace
from pathlib import Path

import pytest

from tests.recipes.conftest import RecordingSink
from tests.recipes.contestants.conftest import MakeArena
from tuningfork.events import StepFinished
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import TuneOptions
from tuningfork.recipes.contestants.soft import SoftPrompts, soft_prompts
from tuningfork.training.checkpoint import Checkpoint, pooled
from tuningfork.tuning.soft.defaults import LEARNING_RATES, SEARCHED_METHODS
from tuningfork.tuning.soft.registry import SOFT_METHODS

METHOD = SoftPrompts("prompt_tuning")


def test_without_names_those_take_part_that_are_tuned_without_names() -> None:
    assert [one.method for one in soft_prompts(TuneOptions())] == list(SEARCHED_METHODS)
    named = soft_prompts(TuneOptions(methods=("p_tuning", "idpg", "late_prompt_tuning")))
    assert [one.name for one in named] == ["P-tuning", "IDPG", "late prompt tuning"]


def test_methods_at_the_input_are_tried_in_two_places_each_with_rates_of_its_own(
    arena_of: MakeArena,
) -> None:
    arena = arena_of()
    for name in SEARCHED_METHODS:
        _, candidates = SoftPrompts(name).plan(arena)
        places = ("front", "both") if SOFT_METHODS[name].kind == "input" else ("front",)
        tried = {(c.placement, c.arguments.learning_rate) for c in candidates}
        assert tried == {(place, rate) for place in places for rate in LEARNING_RATES[name]}


def test_a_second_place_that_does_not_fit_is_not_tried(arena_of: MakeArena) -> None:
    arena = arena_of()
    room = len(arena.prepared.renderer.prefix_ids) + 15
    tight = replace(arena, prepared=replace(arena.prepared, room=room))
    assert {c.placement for c in METHOD.plan(tight)[1]} == {"front"}
    asked = replace(arena, options=arena.options.model_copy(update={"placements": ("suffix",)}))
    assert {c.placement for c in METHOD.plan(asked)[1]} == {"suffix"}


def test_an_adapter_that_is_asked_for_is_not_learned_beside_the_prompt(arena_of: MakeArena) -> None:
    plain = [candidate.name for candidate in METHOD.plan(arena_of())[1]]
    assert [candidate.name for candidate in METHOD.plan(arena_of(lora_rank=4))[1]] == plain


def test_every_seed_of_the_setting_that_held_out_rows_chose_answers(
    arena_of: MakeArena, tmp_path: Path
) -> None:
    arena = arena_of(num_seeds=3)
    made = METHOD.make(arena, tmp_path)
    assert sorted(made.answers) == [0, 1, 2]
    rows = list(arena.prepared.rows)[:4]
    losses = {seed: answer(rows).mean_log_loss for seed, answer in made.answers.items()}
    assert len(set(losses.values())) == 3
    by_candidate: dict[str, list[Checkpoint]] = {}
    for path in RunFolder(tmp_path).checkpoints:
        if "-fold" in path.stem:
            by_candidate.setdefault(path.stem.partition("-fold")[0], []).append(Checkpoint.load(path))
    best = math.inf
    for stem, folds in by_candidate.items():
        for step in folds[0].progress.validations:
            found = pooled([fold.progress.validations[step] for fold in folds])
            if found.log_loss < best:
                best, chosen = found.log_loss, (stem, step)
    rate, steps = made.setting["learning rate"], made.setting["steps"]
    assert chosen[0].endswith(f"lr{rate:g}")
    assert ("-both-" in chosen[0]) is (made.setting["placement"] == "both")
    assert steps == chosen[1]
    assert made.validation is not None
    assert made.validation.log_loss == pytest.approx(best)
    assert made.trained_parameters > 0
    assert made.stored_bytes == (tmp_path / "prompt.safetensors").stat().st_size


def test_what_the_model_cannot_do_is_said_beforehand(arena_of: MakeArena) -> None:
    reason = SoftPrompts("p_tuning_v2").reason_to_leave_out(arena_of("generation"))
    assert reason is not None
    assert "p_tuning_v2" in reason
    assert METHOD.reason_to_leave_out(arena_of("generation")) is None


def test_trainings_are_counted_before_and_none_is_forgotten(
    arena_of: MakeArena, tmp_path: Path, sink: RecordingSink
) -> None:
    arena = arena_of()
    METHOD.make(arena, tmp_path)
    trained = {event.candidate for event in sink.events if isinstance(event, StepFinished)}
    assert METHOD.num_trainings(arena) == len(trained) == 4 * 3 + 2


def test_a_spent_budget_cuts_the_search_short_and_that_is_said(arena_of: MakeArena, tmp_path: Path) -> None:
    arena = replace(arena_of(bank_size=1), budget_seconds=1e-6)
    made = METHOD.make(arena, tmp_path)
    assert made.setting["candidates"] == 4
    assert made.setting["cut short by the budget"] == 4
    assert sorted(made.answers) == list(arena.seeds) or made.setting["steps"] == 0
    judged = {
        path.stem.partition("-fold")[0] for path in RunFolder(tmp_path).checkpoints if "-fold" in path.stem
    }
    assert len(judged) == 1
    assert "cut short by the budget" not in METHOD.make(arena_of(), tmp_path / "free").setting
