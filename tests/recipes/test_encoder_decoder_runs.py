"""Runs on encoder-decoder models: where each method stands, what is searched, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from tests.recipes.conftest import RecordingSink
from tests.tiny_folder import save_tiny_encoder_decoder
from tuningfork.errors import ContextLengthError, PromptError, TaskError
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.artefacts import EncoderDecoderPrompt, InputPrompt, PlacedPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.loading import load_model
from tuningfork.recipes.loaded_run import LoadedRun
from tuningfork.recipes.preparation import prepare
from tuningfork.recipes.search_space import SearchSpace, plan_candidates, search_space
from tuningfork.recipes.tune import plan, tune
from tuningfork.tasks.task import Task
from tuningfork.tuning.soft.decoder_placement import stands_at_decoder
from tuningfork.tuning.soft.defaults import LEARNING_RATES, NUM_PLACED_TOKENS, SEARCHED_METHODS, Placement
from tuningfork.tuning.soft.registry import SOFT_METHODS


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> FrozenModel:
    """A tiny BART with a tokenizer of bytes."""
    return load_model(str(save_tiny_encoder_decoder(tmp_path_factory.mktemp("models") / "bart", "bart")))


@pytest.fixture
def asked() -> TuneOptions:
    return TuneOptions(max_steps=2, validate_every=1, num_seeds=1, refit="no", learning_rates=(0.1,))


def space_of(task: Task, model: FrozenModel, options: TuneOptions, **changes: Any) -> SearchSpace:
    options = options.model_copy(update=changes)
    prepared = prepare(task, model, options, RecordingSink())
    return search_space(model, prepared, options, lambda *_: lambda _: pytest.fail("nothing is judged here"))


def named(space: SearchSpace) -> list[tuple[str, Placement]]:
    return [(candidate.method.name, candidate.placement) for candidate in plan_candidates(space)]


def test_without_choices_each_method_that_is_possible_is_tried_at_its_side(
    tasks: dict[str, Task], reader: FrozenModel, asked: TuneOptions
) -> None:
    space = space_of(tasks["generation"], reader, asked, learning_rates=())
    candidates = plan_candidates(space)
    at_encoder = [name for name in SEARCHED_METHODS if SOFT_METHODS[name].kind == "input"]
    at_decoder = [name for name in SEARCHED_METHODS if stands_at_decoder(SOFT_METHODS[name])]
    assert [(c.method.name, c.placement, c.arguments.learning_rate) for c in candidates] == [
        (name, placement, rate)
        for placement, names in (("front", at_encoder), ("decoder", at_decoder))
        for name in names
        for rate in LEARNING_RATES[name]
    ]
    assert at_encoder
    assert at_decoder
    for candidate in candidates:
        length = NUM_PLACED_TOKENS if candidate.placement == "decoder" else len(space.text_ids)
        assert len(candidate.embeddings) == length


def test_methods_that_are_named_stand_at_their_side_unless_a_place_is_named_too(
    tasks: dict[str, Task], reader: FrozenModel, asked: TuneOptions
) -> None:
    task, methods = tasks["generation"], ("prefix_tuning", "prompt_tuning")
    assert named(space_of(task, reader, asked, methods=methods)) == [
        ("prompt_tuning", "front"),
        ("prefix_tuning", "decoder"),
    ]
    assert named(space_of(task, reader, asked, methods=methods[:1])) == [("prefix_tuning", "decoder")]
    both = {("prefix_tuning", "decoder"), ("prompt_tuning", "decoder")}
    assert set(named(space_of(task, reader, asked, methods=methods, placements=("decoder",)))) == both
    assert set(named(space_of(task, reader, asked, placements=("decoder",)))) == both
    assert named(space_of(task, reader, asked, placements=("encoder_decoder", "suffix"))) == [
        ("prompt_tuning", "encoder_decoder"),
        ("prompt_tuning", "suffix"),
    ]
    marked = task.model_copy(update={"prompt": task.prompt + " {{soft:2}}"})
    assert named(space_of(marked, reader, asked)) == [("prompt_tuning", "markers")]


def test_tokens_on_both_sides_are_the_text_and_then_those_of_the_decoder(
    tasks: dict[str, Task], reader: FrozenModel, asked: TuneOptions
) -> None:
    space = space_of(tasks["generation"], reader, asked, placements=("encoder_decoder",))
    (candidate,) = plan_candidates(space)
    text = reader.embed(space.text_ids).float()
    assert len(candidate.embeddings) == len(text) + NUM_PLACED_TOKENS
    assert (candidate.embeddings[: len(text)] == text).all()


@pytest.mark.parametrize("name", [n for n, m in SOFT_METHODS.items() if stands_at_decoder(m)])
def test_keys_and_values_in_front_of_an_encoder_are_refused(
    name: str, tasks: dict[str, Task], reader: FrozenModel, asked: TuneOptions
) -> None:
    task = tasks["classification"]
    with pytest.raises(PromptError, match=rf"{name} makes keys and values, .* choose --placement decoder"):
        plan_candidates(space_of(task, reader, asked, methods=(name,), placements=("front",)))


def test_what_cannot_be_done_is_refused_before_anything_is_written(
    tasks: dict[str, Task], reader: FrozenModel, model: FrozenModel, asked: TuneOptions, tmp_path: Path
) -> None:
    def refused(task: str, of: FrozenModel, **changes: Any) -> None:
        tune(tasks[task], asked.model_copy(update=changes), runs_folder=tmp_path / "runs", model=of)

    with pytest.raises(PromptError, match=r"idpg is not possible with .*bart reads each row, its prompt in"):
        refused("classification", reader, methods=("prompt_tuning", "idpg"))
    for placement in ("decoder", "encoder_decoder"):
        with pytest.raises(PromptError, match=f"placement {placement} needs an encoder-decoder model"):
            refused("classification", model, placements=(placement,))
    with pytest.raises(TaskError, match="conversations need a causal model with a chat template"):
        refused("messages", reader)
    with pytest.raises(ContextLengthError, match="the longer of input"):
        refused("generation", reader, placements=("suffix",), num_virtual_tokens=(2040,))
    assert list(tmp_path.iterdir()) == []


def test_a_long_answer_takes_no_room_of_the_input(
    tasks: dict[str, Task], reader: FrozenModel, asked: TuneOptions
) -> None:
    task = tasks["generation"].model_copy(update={"max_new_tokens": 1800})
    prepared = prepare(task, reader, asked, RecordingSink())
    assert reader.maximum_length is not None
    assert prepared.room == reader.maximum_length - 1802
    plan(task, asked.model_copy(update={"methods": ("prompt_tuning",)}), model=reader)


@pytest.mark.parametrize("kind", ["classification", "generation"])
@pytest.mark.parametrize("placement", ["front", "suffix", "decoder", "encoder_decoder"])
def test_a_run_answers_as_it_was_tested(
    placement: Placement,
    kind: str,
    tasks: dict[str, Task],
    reader: FrozenModel,
    asked: TuneOptions,
    tmp_path: Path,
) -> None:
    options = asked.model_copy(
        update={
            "methods": ("prompt_tuning",),
            "placements": (placement,),
            "learning_rates": (0.5,),
            "max_steps": 6,
            "validate_every": 2,
        }
    )
    folder = tune(tasks[kind], options, runs_folder=tmp_path, model=reader)
    record, prompt = folder.load_prompt()
    assert {candidate.placement for candidate in folder.result.candidates} == {placement}
    assert record.placement == placement
    expected: dict[str, type] = {"front": InputPrompt, "suffix": PlacedPrompt}
    assert isinstance(prompt, expected.get(placement, EncoderDecoderPrompt))
    loaded = LoadedRun(folder, reader)
    rows = folder.load_predictions()
    assert rows
    for row in rows:
        assert loaded.answer(row["inputs"]).text == row["predictions"]["tuned prompt"]
