"""What holds for every contestant, whoever wrote it."""

from pathlib import Path

import pytest

from tests.recipes.conftest import RecordingSink
from tests.recipes.contestants.conftest import MakeArena
from tuningfork.errors import PromptError
from tuningfork.events import StepFinished
from tuningfork.library.comparison_folder import ComparisonOptions
from tuningfork.library.run_records import TuneOptions
from tuningfork.recipes.contestants.contestant import Contestant, Made, Trains
from tuningfork.recipes.contestants.registry import CONTESTANTS, DEFAULT_CONTESTANTS, contestants_of

TUNING = TuneOptions(methods=("prompt_tuning",))
EVERY = [
    contestant
    for name in DEFAULT_CONTESTANTS
    for contestant in CONTESTANTS[name](ComparisonOptions(tuning=TUNING))
]


@pytest.fixture(params=EVERY, ids=lambda contestant: contestant.name)
def contestant(request: pytest.FixtureRequest) -> Contestant:
    found: Contestant = request.param
    return found


def test_is_made_alike_in_two_places_without_a_look_at_test_rows_and_leaves_the_base_alone(
    contestant: Contestant, arena_of: MakeArena, tmp_path: Path
) -> None:
    arena = arena_of()
    before = arena.model.identity(fresh=True)
    assert contestant.reason_to_leave_out(arena) is None
    first, second = (contestant.make(arena, made_folder(tmp_path / name)) for name in ("one", "other"))
    assert arena.model.identity(fresh=True) == before
    assert dict(first.setting) == dict(second.setting)
    assert first.validation == second.validation
    assert set(first.answers) in ({arena.options.seed}, set(arena.seeds))
    assert answered(first, arena) == answered(second, arena)


def test_answers_rows_in_their_order(contestant: Contestant, arena_of: MakeArena, tmp_path: Path) -> None:
    arena = arena_of()
    made = contestant.make(arena, tmp_path)
    rows = list(arena.prepared.rows)[:6]
    answer = made.answers[min(made.answers)]
    forwards, backwards = answer(rows), answer(rows[::-1])
    assert forwards.predictions == backwards.predictions[::-1]
    assert forwards.log_losses == pytest.approx(backwards.log_losses[::-1], abs=1e-4)
    assert len({round(loss, 6) for loss in forwards.log_losses}) > 1
    if made.respond is not None:
        assert [prediction.text for prediction in made.respond(rows)] == forwards.predictions


def test_made_once_more_in_the_same_place_it_trains_nothing_and_is_the_same(
    contestant: Contestant, arena_of: MakeArena, tmp_path: Path, sink: RecordingSink
) -> None:
    arena = arena_of()
    first = contestant.make(arena, tmp_path)
    expected = answered(first, arena)
    sink.events.clear()
    again = contestant.make(arena, tmp_path)
    assert not any(isinstance(event, StepFinished) for event in sink.events)
    assert answered(again, arena) == expected


def test_trained_ones_say_what_they_trained(
    contestant: Contestant, arena_of: MakeArena, tmp_path: Path
) -> None:
    arena = arena_of()
    made = contestant.make(arena, tmp_path)
    is_words = contestant.family == "words"
    assert (made.trained_parameters == 0) is is_words
    if isinstance(contestant, Trains):
        assert contestant.num_trainings(arena) >= len(made.answers)


def test_the_text_prompt_always_takes_part_and_the_order_is_that_of_the_registry() -> None:
    options = ComparisonOptions(tuning=TUNING, contestants=("soft_prompts", "no_prompt"))
    assert [one.name for one in contestants_of(options)] == ["no prompt", "text prompt", "prompt tuning"]


def test_unknown_contestant_is_refused_with_a_hint() -> None:
    options = ComparisonOptions(tuning=TUNING, contestants=("soft_prompt",))
    with pytest.raises(PromptError, match=r"unknown contestant 'soft_prompt': did you mean 'soft_prompts'\?"):
        contestants_of(options)


def made_folder(path: Path) -> Path:
    path.mkdir()
    return path


def answered(made: Made, arena: object) -> dict[int, tuple[list[str], list[float]]]:
    rows = list(arena.prepared.rows)[:6]  # type: ignore[attr-defined]
    found = {seed: answer(rows) for seed, answer in made.answers.items()}
    return {seed: (one.predictions, one.log_losses) for seed, one in found.items()}
