from dataclasses import replace

import pytest

from tests.recipes.conftest import RecordingSink
from tuningfork.evaluation.evaluate import Evaluator
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.baselines import FewShot, _spread, choose_few_shot
from tuningfork.recipes.preparation import Prepared, prepare
from tuningfork.tasks.task import Task
from tuningfork.training.checkpoint import pooled


@pytest.fixture
def prepared(tasks: dict[str, Task], model: FrozenModel, sink: RecordingSink) -> Prepared:
    return prepare(tasks["classification"], model, TuneOptions(refit="no"), sink)


@pytest.fixture
def evaluator(prepared: Prepared, model: FrozenModel) -> Evaluator:
    return Evaluator(model, prepared.task, prepared.renderer)


def choose_and_read(prepared: Prepared, model: FrozenModel, evaluator: Evaluator) -> tuple[FewShot, str]:
    chosen = choose_few_shot(prepared, model, evaluator, seed=0)
    assert chosen is not None
    text = model.tokenizer.decode(chosen.prefix_ids)
    assert isinstance(text, str)
    return chosen, text


def test_chosen_demonstrations_have_the_lowest_log_loss_on_validation(
    prepared: Prepared, evaluator: Evaluator, model: FrozenModel
) -> None:
    chosen, text = choose_and_read(prepared, model, evaluator)
    assert text.count("<|user|>") == chosen.num_demonstrations + 1
    assert chosen.stored_bytes == len(text.encode())
    losses = {}
    train = prepared.folds[0].train
    for count in (count for count in (2, 4, 8, 12) if count <= len(train)):
        ids = prepared.renderer.few_shot_prefix_ids(_spread(train, 0)[:count])
        losses[count] = evaluator.evaluate(model.prefix([ids]), prepared.validation).mean_log_loss
    assert losses[chosen.num_demonstrations] == pytest.approx(min(losses.values()))
    assert max(losses.values()) > 1.01 * min(losses.values())


def test_demonstrations_take_labels_in_turn_and_only_training_rows(
    prepared: Prepared, evaluator: Evaluator, model: FrozenModel
) -> None:
    _, text = choose_and_read(prepared, model, evaluator)
    said = [line for line in text.splitlines() if line in ("billing", "tech team")]
    assert abs(said.count("billing") - said.count("tech team")) <= 1
    held_out = {example.inputs["message"] for example in (*prepared.validation, *prepared.test)}
    shown = {line.removeprefix("Message: ") for line in text.splitlines() if line.startswith("Message: ")}
    assert shown
    assert shown.isdisjoint(held_out)


def test_few_rows_choose_the_number_in_folds_and_all_may_be_shown(
    tasks: dict[str, Task], model: FrozenModel, sink: RecordingSink
) -> None:
    prepared = prepare(tasks["classification"], model, TuneOptions(), sink)
    evaluator = Evaluator(model, prepared.task, prepared.renderer)
    chosen = choose_few_shot(prepared, model, evaluator, seed=0)
    assert chosen is not None
    losses = {}
    for count in (2, 4, 8, 12):
        found = []
        for fold in prepared.folds:
            ids = prepared.renderer.few_shot_prefix_ids(_spread(fold.train, 0)[:count])
            found.append(evaluator.evaluate(model.prefix([ids]), fold.validation).validation)
        assert pooled(found).num_rows == len(prepared.rows)
        losses[count] = pooled(found).calibrated_log_loss
    assert chosen.num_demonstrations == min(losses, key=losses.__getitem__)
    shown = _spread(prepared.rows, 0)[: chosen.num_demonstrations]
    assert chosen.prefix_ids == prepared.renderer.few_shot_prefix_ids(shown)


def test_without_room_there_is_no_few_shot_prompt(
    prepared: Prepared, model: FrozenModel, evaluator: Evaluator
) -> None:
    fewest = len(prepared.renderer.few_shot_prefix_ids(_spread(prepared.folds[0].train, 0)[:2]))
    fits = choose_few_shot(replace(prepared, room=fewest), model, evaluator, seed=0)
    assert fits is not None
    assert fits.num_demonstrations == 2
    assert choose_few_shot(replace(prepared, room=fewest - 1), model, evaluator, seed=0) is None
