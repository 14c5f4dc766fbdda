import pytest

from tests.recipes.conftest import RecordingSink, Setting
from tuningfork.errors import ModelError, PromptError, TaskError
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.preparation import prepare
from tuningfork.recipes.search_space import objective_of, plan_candidates
from tuningfork.tasks.task import Task
from tuningfork.training.objectives import ChoiceObjective, TokenObjective
from tuningfork.tuning.soft.defaults import (
    LEARNING_RATES,
    NUM_PLACED_TOKENS,
    NUM_VIRTUAL_TOKENS_WITHOUT_TEXT,
    SEARCHED_METHODS,
)
from tuningfork.tuning.soft.registry import SOFT_METHODS


def test_rows_are_trained_on_once_or_fold_by_fold(setting: Setting) -> None:
    space, divided = setting.space(), setting.cross_validated()
    total = len(setting.prepared.rows)
    assert [len(fold.rows) for fold in space.rows["front"].folds] == [len(setting.prepared.folds[0].train)]
    assert space.rows["front"].refit is None
    assert sum(total - len(fold.rows) for fold in divided.rows["front"].folds) == total
    refit = divided.rows["front"].refit
    assert refit is not None
    assert len(refit) == total


def test_training_on_all_rows_can_be_asked_for(setting: Setting) -> None:
    options = setting.options.model_copy(update={"refit": "yes"})
    rows = Setting(setting.model, setting.prepared, options).space().rows["front"].refit
    assert rows is not None
    assert len(rows) == len(setting.prepared.rows)


@pytest.mark.parametrize(
    ("kind", "objective", "expected"),
    [
        ("classification", "auto", ChoiceObjective),
        ("classification", "labels", ChoiceObjective),
        ("classification", "tokens", TokenObjective),
        ("generation", "auto", TokenObjective),
    ],
)
def test_labels_are_told_apart_unless_tokens_are_asked_for(
    kind: str,
    objective: str,
    expected: type,
    tasks: dict[str, Task],
    setting: Setting,
    model: FrozenModel,
    sink: RecordingSink,
) -> None:
    options = setting.options.model_copy(update={"objective": objective})
    assert isinstance(objective_of(prepare(tasks[kind], model, options, sink), options), expected)


def test_objective_of_labels_needs_labels(setting: Setting) -> None:
    options = setting.options.model_copy(update={"objective": "labels"})
    with pytest.raises(
        TaskError, match="objective labels needs a classification task; this one is generation"
    ):
        objective_of(setting.prepared, options)


def test_without_choices_the_usual_methods_are_tried_at_their_own_rates(setting: Setting) -> None:
    candidates = plan_candidates(setting.space())
    at_input = [name for name in SEARCHED_METHODS if SOFT_METHODS[name].kind == "input"]
    assert [(c.method.name, c.placement, c.arguments.learning_rate) for c in candidates] == [
        (name, placement, rate)
        for placement, names in (("front", SEARCHED_METHODS), ("both", at_input))
        for name in names
        for rate in LEARNING_RATES[name]
    ]
    assert len({candidate.name for candidate in candidates}) == len(candidates)
    for candidate in candidates:
        more = NUM_PLACED_TOKENS if candidate.placement == "both" else 0
        assert len(candidate.embeddings) == len(setting.space().text_ids) + more


def test_options_reach_the_training_arguments(setting: Setting) -> None:
    (candidate,) = plan_candidates(
        setting.with_options(
            methods=("prompt_tuning",), learning_rates=(0.3,), num_virtual_tokens=(2,), schedule="constant",
            weight_decay=0.5, micro_batch_size=3, checkpoint_every=7, seed=4,
        )
    )  # fmt: skip
    arguments = candidate.arguments
    assert (arguments.learning_rate, arguments.schedule, arguments.weight_decay) == (0.3, "constant", 0.5)
    assert (arguments.batch_size, arguments.micro_batch_size, arguments.checkpoint_every) == (4, 3, 7)
    assert (arguments.max_steps, arguments.validate_every, arguments.patience, arguments.seed) == (8, 2, 0, 4)
    assert len(candidate.embeddings) == 2


def test_without_a_text_there_is_still_a_length(setting: Setting) -> None:
    space = setting.space(
        text_ids=[], options=setting.options.model_copy(update={"initializations": ("vocabulary",)})
    )
    assert len(plan_candidates(space)[0].embeddings) == NUM_VIRTUAL_TOKENS_WITHOUT_TEXT


def test_unknown_method_and_start_are_refused(setting: Setting) -> None:
    with pytest.raises(
        PromptError, match="unknown soft-prompt method 'prefix': did you mean 'prefix_tuning'"
    ):
        plan_candidates(setting.with_options(methods=("prefix",), learning_rates=(0.1,)))
    with pytest.raises(PromptError, match="unknown initialisation 'luck'"):
        plan_candidates(setting.with_options(initializations=("luck",)))


def test_layers_that_cannot_run_again_are_refused_before_anything_is_trained(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setting.model, "_recomputable_layers", "its layers are not found")
    plan_candidates(setting.space())
    with pytest.raises(ModelError, match=r"gradient checkpointing is not possible .* layers are not found"):
        plan_candidates(setting.with_options(gradient_checkpointing=True))


@pytest.mark.parametrize("kind", ["generation", "classification"])
def test_a_method_that_needs_labels_is_refused_before_others_are_trained(
    kind: str, tasks: dict[str, Task], setting: Setting, model: FrozenModel, sink: RecordingSink
) -> None:
    options = setting.options.model_copy(
        update={"methods": ("prompt_tuning", "p_tuning_v2"), "objective": "tokens"}
    )
    space = Setting(model, prepare(tasks[kind], model, options, sink), options).space()
    with pytest.raises(PromptError, match=r"p_tuning_v2 .* needs a classification task .*use prefix tuning"):
        plan_candidates(space)


def test_a_method_that_needs_labels_is_told_how_many_there_are(
    tasks: dict[str, Task], setting: Setting, model: FrozenModel, sink: RecordingSink
) -> None:
    options = setting.options.model_copy(update={"methods": ("p_tuning_v2",)})
    space = Setting(model, prepare(tasks["classification"], model, options, sink), options).space()
    assert {candidate.objective.num_labels for candidate in plan_candidates(space)} == {2}


def test_several_lengths_are_only_tried_where_rows_have_no_places(setting: Setting) -> None:
    with pytest.raises(PromptError, match="placement suffix: one number of virtual tokens, found 2, 5"):
        setting.with_options(placements=("suffix",), num_virtual_tokens=(2, 5))
    space = setting.with_options(
        methods=("prompt_tuning",), learning_rates=(0.1,), placements=("both",), num_virtual_tokens=(2, 5)
    )
    assert [len(c.embeddings) - NUM_PLACED_TOKENS for c in plan_candidates(space)] == [2, 5]
