from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor

from tests.recipes.conftest import RecordingSink
from tests.tiny_folder import MAXIMUM_LENGTH
from tuningfork.errors import ContextLengthError, PromptError
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.artefacts import PlacedPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.arrangement import Arrangement, arrange, arrangements_of
from tuningfork.recipes.loaded_run import LoadedRun
from tuningfork.recipes.preparation import prepare
from tuningfork.recipes.tune import plan, tune
from tuningfork.tasks.task import Task
from tuningfork.training.checkpoint import Validation
from tuningfork.tuning.soft.defaults import (
    DECODER_PLACEMENTS,
    NUM_PLACED_TOKENS,
    SEARCHED_PLACEMENTS,
    Placement,
)
from tuningfork.tuning.soft.method import ShowsRows
from tuningfork.tuning.soft.registry import SOFT_METHODS

TEXT_LENGTH = 6


def marked(task: Task) -> Task:
    """The task with places at the beginning and the end of its prompt."""
    return task.model_copy(update={"prompt": "{{soft:3}} " + task.prompt + " {{soft:2}}"})


def drawn(count: int | None) -> Tensor:
    return torch.full((count or TEXT_LENGTH, 4), float(count or 0))


def places_in(ids: Sequence[int]) -> list[int]:
    return [-1 - token for token in ids if token < 0]


@pytest.mark.parametrize(
    ("placement", "front", "row"),
    [
        ("after_bos", [0, 1, 2, 3], []),
        ("suffix", [], [0, 1, 2, 3]),
        ("both", list(range(4, 4 + TEXT_LENGTH)), [0, 1, 2, 3]),
        ("markers", [0, 1, 2], [3, 4]),
    ],
)
def test_every_virtual_token_has_one_place(
    placement: Placement, front: list[int], row: list[int], tasks: dict[str, Task], model: FrozenModel,
    sink: RecordingSink, options: TuneOptions,
) -> None:  # fmt: skip
    task = marked(tasks["classification"])
    example = prepare(task, model, options, sink).test[0]
    found = arrange(task, model.tokenizer, placement, None if placement == "markers" else 4)
    embeddings = found.initial(drawn)
    method = found.placed(SOFT_METHODS["prompt_tuning"], len(embeddings))
    prompt = method.materialize(torch.nn.ParameterDict({"embeddings": embeddings}))
    assert isinstance(prompt, PlacedPrompt)
    assert places_in(prompt.prefix_ids) == front
    assert places_in(found.renderer.row_ids(example)) == row
    assert sorted(front + row) == list(range(len(embeddings)))
    words = arrange(task, model.tokenizer, "front", None).renderer
    if placement not in ("both", "markers"):
        assert [token for token in prompt.prefix_ids if token >= 0] == words.prefix_ids
        assert [token for token in found.renderer.row_ids(example) if token >= 0] == words.row_ids(example)


def test_virtual_tokens_behind_bos_leave_it_in_front(tasks: dict[str, Task], model: FrozenModel) -> None:
    found = arrange(tasks["classification"], model.tokenizer, "after_bos", 2)
    leading, words = found.renderer.num_leading_tokens, found.renderer.prefix_ids
    prompt = found.placed(SOFT_METHODS["prompt_tuning"], 2).materialize(
        torch.nn.ParameterDict({"embeddings": torch.zeros(2, 4)})
    )
    assert isinstance(prompt, PlacedPrompt)
    assert leading == 1
    assert prompt.prefix_ids == (words[0], -1, -2, *words[1:])


def test_in_front_the_method_stays_as_it_is(tasks: dict[str, Task], model: FrozenModel) -> None:
    found = arrange(tasks["classification"], model.tokenizer, "front", None)
    method = SOFT_METHODS["prefix_tuning"]
    assert found.placed(method, 3) is method
    assert len(found.initial(drawn)) == TEXT_LENGTH


def test_the_two_parts_of_both_start_each_from_its_own(tasks: dict[str, Task], model: FrozenModel) -> None:
    found = arrange(tasks["classification"], model.tokenizer, "both", None)
    assert found.num_placed_tokens == NUM_PLACED_TOKENS
    assert found.initial(drawn)[:, 0].tolist() == [NUM_PLACED_TOKENS] * NUM_PLACED_TOKENS + [0] * TEXT_LENGTH


def test_markers_are_used_where_there_are_some(
    tasks: dict[str, Task], model: FrozenModel, options: TuneOptions
) -> None:
    def found(task: Task, **changes: object) -> dict[Placement, Arrangement]:
        return arrangements_of(task, model.tokenizer, options.model_copy(update=changes))

    plain = tasks["classification"]
    assert list(found(plain)) == ["front"]
    assert list(found(plain, methods=())) == list(SEARCHED_PLACEMENTS)
    assert list(found(marked(plain))) == ["markers"]
    assert list(found(marked(plain), placements=("suffix", "front"))) == ["suffix", "front"]
    assert found(plain, placements=("suffix",), num_virtual_tokens=(3,))["suffix"].num_placed_tokens == 3


def test_markers_that_are_not_there_or_counted_otherwise_are_refused(
    tasks: dict[str, Task], model: FrozenModel
) -> None:
    task = tasks["classification"]
    with pytest.raises(PromptError, match=r"placement markers: the prompt has none; write \{\{soft:8\}\}"):
        arrange(task, model.tokenizer, "markers", None)
    with pytest.raises(PromptError, match="markers for 5 virtual tokens, found 7 asked for; leave out"):
        arrange(marked(task), model.tokenizer, "markers", 7)


def test_a_method_without_tokens_at_the_input_is_refused_before_anything_is_written(
    tasks: dict[str, Task], options: TuneOptions, model: FrozenModel, tmp_path: Path
) -> None:
    wrong = options.model_copy(update={"methods": ("prefix_tuning",), "placements": ("suffix",)})
    with pytest.raises(PromptError, match="prefix_tuning has no virtual tokens that could be"):
        tune(tasks["classification"], wrong, runs_folder=tmp_path / "runs", model=model)
    assert list(tmp_path.iterdir()) == []


def test_rows_are_checked_with_the_tokens_that_are_placed(
    tasks: dict[str, Task], options: TuneOptions, model: FrozenModel
) -> None:
    wide = options.model_copy(update={"placements": ("suffix",), "num_virtual_tokens": (2040,)})
    with pytest.raises(ContextLengthError, match="model's maximum is"):
        plan(tasks["classification"], wide, model=model)


@pytest.fixture
def _chosen_by_plain_log_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few steps of a tiny model make it surer of labels, and tell them apart by luck only."""
    monkeypatch.setattr(Validation, "calibrated_log_loss", property(lambda found: found.log_loss))


@pytest.mark.parametrize("kind", ["classification", "messages"])
@pytest.mark.parametrize(
    "placement",
    [name for name in get_args(Placement) if name != "markers" and name not in DECODER_PLACEMENTS],
)
@pytest.mark.usefixtures("_chosen_by_plain_log_loss")
def test_a_run_answers_as_it_was_tested(
    placement: Placement, kind: str, tasks: dict[str, Task], options: TuneOptions, model: FrozenModel,
    tmp_path: Path, sink: RecordingSink,
) -> None:  # fmt: skip
    asked = options.model_copy(update={"placements": (placement,), "learning_rates": (0.5,)})
    check_answers(tune(tasks[kind], asked, runs_folder=tmp_path, model=model, sink=sink), model, placement)
    told = [message for message in sink.messages if message.startswith("Context   words of rows read once:")]
    assert bool(told) == (placement == "suffix")


@pytest.mark.usefixtures("_chosen_by_plain_log_loss")
def test_a_run_with_markers_answers_as_it_was_tested(
    tasks: dict[str, Task], options: TuneOptions, model: FrozenModel, tmp_path: Path
) -> None:
    asked = options.model_copy(update={"learning_rates": (0.5,)})
    folder = tune(marked(tasks["classification"]), asked, runs_folder=tmp_path, model=model)
    check_answers(folder, model, "markers")
    assert folder.load_prompt()[0].num_tokens == 5


def check_answers(folder: RunFolder, model: FrozenModel, placement: Placement) -> None:
    record, prompt = folder.load_prompt()
    assert {candidate.placement for candidate in folder.result.candidates} == {placement}
    assert record.kind == "soft"
    assert record.placement == placement
    assert isinstance(prompt, PlacedPrompt) == (placement != "front")
    loaded = LoadedRun(folder, model)
    for row in folder.load_predictions():
        if isinstance(row["inputs"], dict):
            assert loaded.answer(row["inputs"]).text == row["predictions"]["tuned prompt"]


def test_places_that_nobody_asked_for_are_left_out_where_they_do_not_fit(
    tasks: dict[str, Task], options: TuneOptions, model: FrozenModel, sink: RecordingSink
) -> None:
    longer = tasks["generation"].model_copy(update={"max_new_tokens": 1880})
    asked = options.model_copy(update={"methods": ()})
    plan(longer, asked, model=model, sink=sink)
    assert "prompt_tuning both" in sink.messages[-1]
    longest = tasks["generation"].model_copy(update={"max_new_tokens": 1900})
    plan(longest, asked, model=model, sink=sink)
    assert "prompt_tuning both" not in sink.messages[-1]
    with pytest.raises(ContextLengthError, match="model's maximum is"):
        plan(longest, asked.model_copy(update={"placements": ("both",)}), model=model)


@pytest.mark.slow
def test_shown_rows_leave_room_for_the_longest_row_and_answer(
    tasks: dict[str, Task], options: TuneOptions, model: FrozenModel, tmp_path: Path
) -> None:
    showing = next(name for name, method in SOFT_METHODS.items() if isinstance(method, ShowsRows))
    task = tasks["generation"].model_copy(update={"max_new_tokens": MAXIMUM_LENGTH - 200})
    asked = options.model_copy(update={"methods": (showing,), "learning_rates": (0.01,)})
    folder = tune(task, asked, runs_folder=tmp_path, model=model)
    assert folder.is_finished
