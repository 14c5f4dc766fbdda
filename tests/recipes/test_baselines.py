from dataclasses import replace

import pytest

from tests.recipes.conftest import RecordingSink
from tuningfork.evaluation.evaluate import Evaluation, Evaluator
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.baselines import _spread, as_validation, choose_few_shot
from tuningfork.recipes.preparation import Prepared, prepare
from tuningfork.tasks.task import Task


@pytest.fixture
def prepared(tasks: dict[str, Task], model: FrozenModel, sink: RecordingSink) -> Prepared:
    return prepare(tasks["classification"], model, TuneOptions(), sink)


@pytest.fixture
def evaluator(prepared: Prepared, model: FrozenModel) -> Evaluator:
    return Evaluator(model, prepared.task, prepared.renderer)


def test_selection_sees_means_and_how_many_rows() -> None:
    found = as_validation(Evaluation(["a", "b"], [1.0, 0.0], [0.2, 0.6], seconds=1.0))
    assert (found.metric, found.num_rows) == (0.5, 2)
    assert found.log_loss == pytest.approx(0.4)


def test_chosen_demonstrations_have_the_lowest_log_loss_on_validation(
    prepared: Prepared, evaluator: Evaluator, model: FrozenModel
) -> None:
    chosen = choose_few_shot(prepared, model, evaluator, seed=0)
    assert chosen is not None
    text = model.tokenizer.decode(chosen.prefix_ids)
    assert isinstance(text, str)
    assert text.count("<|user|>") == chosen.num_demonstrations + 1
    assert chosen.stored_bytes == len(text.encode())
    losses = {}
    for count in (count for count in (2, 4, 8, 12) if count <= len(prepared.train)):
        ids = prepared.renderer.few_shot_prefix_ids(_spread(prepared.train, 0)[:count])
        losses[count] = evaluator.evaluate(model.prefix([ids]), prepared.validation).mean_log_loss
    assert losses[chosen.num_demonstrations] == pytest.approx(min(losses.values()))
    assert max(losses.values()) > 1.01 * min(losses.values())


def test_demonstrations_take_labels_in_turn_and_only_training_rows(
    prepared: Prepared, evaluator: Evaluator, model: FrozenModel
) -> None:
    chosen = choose_few_shot(prepared, model, evaluator, seed=0)
    assert chosen is not None
    text = model.tokenizer.decode(chosen.prefix_ids)
    assert isinstance(text, str)
    said = [line for line in text.splitlines() if line in ("billing", "tech team")]
    assert abs(said.count("billing") - said.count("tech team")) <= 1
    held_out = {example.inputs["message"] for example in (*prepared.validation, *prepared.test)}
    shown = {line.removeprefix("Message: ") for line in text.splitlines() if line.startswith("Message: ")}
    assert shown
    assert shown.isdisjoint(held_out)


def test_without_room_there_is_no_few_shot_prompt(
    prepared: Prepared, model: FrozenModel, evaluator: Evaluator
) -> None:
    task = prepared.task.model_copy(update={"max_new_tokens": 2048})
    assert choose_few_shot(replace(prepared, task=task), model, evaluator, seed=0) is None
