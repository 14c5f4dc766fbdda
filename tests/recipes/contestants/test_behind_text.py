import pytest
import torch

from tests.recipes.contestants.weight_arena import OPTIONS, arena_of
from tests.tiny_encoder_folder import save_bare_encoder
from tests.tiny_folder import write_rows
from tests.tiny_names import make_names, names_task
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.loading import load_model
from tuningfork.recipes.contestants.behind_text import (
    space_behind_text,
    text_candidate,
    why_not_behind_text,
)
from tuningfork.recipes.most_frequent_tag import baseline_prefix
from tuningfork.tasks.task import Task
from tuningfork.training.loop import started


@pytest.mark.parametrize("is_divided_once", [False, True])
def test_the_space_has_the_rows_and_folds_that_prompts_have(
    model: FrozenModel, tasks: dict[str, Task], is_divided_once: bool
) -> None:
    arena = arena_of(model, tasks["classification"], is_divided_once=is_divided_once)
    space = space_behind_text(model, arena.prepared, arena.options)
    folds = space.rows["front"].folds
    assert [len(fold.rows) for fold in folds] == [len(fold.train) for fold in arena.prepared.folds]
    prefix = baseline_prefix(arena.prepared, model)
    judged = [fold.validate(prefix) for fold in folds]
    assert [found.num_rows for found in judged] == [len(fold.validation) for fold in arena.prepared.folds]
    refit = space.rows["front"].refit
    assert (refit is None) == is_divided_once
    if refit is not None:
        assert len(refit) == len(arena.prepared.rows)


@pytest.mark.parametrize("kind", ["classification", "generation"])
def test_few_generated_answers_are_judged_by_log_loss_alone(
    model: FrozenModel, tasks: dict[str, Task], kind: str
) -> None:
    for is_divided_once in (False, True):
        arena = arena_of(model, tasks[kind], is_divided_once=is_divided_once)
        fold = space_behind_text(model, arena.prepared, arena.options).rows["front"].folds[0]
        found = fold.validate(baseline_prefix(arena.prepared, model))
        assert (found.metric is None) == (kind == "generation" and not is_divided_once)


def test_all_rows_are_trained_on_where_that_is_asked_for(model: FrozenModel, tasks: dict[str, Task]) -> None:
    arena = arena_of(model, tasks["classification"], is_divided_once=True)
    options = arena.options.model_copy(update={"refit": "yes"})
    refit = space_behind_text(model, arena.prepared, options).rows["front"].refit
    assert refit is not None
    assert len(refit) == len(arena.prepared.rows)


def test_the_text_candidate_reads_as_the_text_prompt(model: FrozenModel, tasks: dict[str, Task]) -> None:
    arena = arena_of(model, tasks["classification"], OPTIONS.model_copy(update={"seed": 5}))
    space = space_behind_text(model, arena.prepared, arena.options)
    candidate = text_candidate(space)
    module = started(candidate, model, torch.Generator(), [])
    assert not list(module.parameters())
    ours, theirs = (
        fold.validate(prefix)
        for fold in space.rows["front"].folds[:1]
        for prefix in (
            model.prefix([candidate.method.materialize(module)]),
            baseline_prefix(arena.prepared, model),
        )
    )
    assert ours == theirs
    assert candidate.arguments.seed == 5


def test_what_says_no_labels_is_named(tmp_path_factory: pytest.TempPathFactory, model: FrozenModel) -> None:
    folder = tmp_path_factory.mktemp("bare")
    bare = load_model(str(save_bare_encoder(folder / "model")))
    path = write_rows(folder / "names.jsonl", make_names(20))
    tagging = arena_of(
        model, names_task(data={"train": str(path), "inputs": {"text": "words"}, "target": "tags"})
    )
    assert why_not_behind_text(model, tagging.prepared) == (
        "tags of words are read by the trained head of a prompt; the text prompt says none"
    )
    rows = write_rows(folder / "t.jsonl", [{"text": f"bill {i}", "label": "ab"[i % 2]} for i in range(20)])
    task = Task.model_validate(
        {
            "name": "t", "type": "classification", "prompt": "Say. {{text}}", "metric": "accuracy",
            "labels": {"a": "great", "b": "bad"},
            "data": {"train": str(rows), "inputs": {"text": "text"}, "target": "label"},
        }
    )  # fmt: skip
    reason = why_not_behind_text(bare, arena_of(bare, task).prepared)
    assert reason is not None
    assert "says no words" in reason
    assert why_not_behind_text(model, arena_of(model, task).prepared) is None
