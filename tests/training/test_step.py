from collections.abc import Sequence
from typing import cast

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tests.tiny_models import RECURRENT, random_ids, tiny_model
from tests.training.toy_task import TEXT, toy_rows, unshared_logits
from tests.unpadded_reference import relative_difference
from tuningfork.models.artefacts import SoftPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.prefix import PrefixState, backward_into
from tuningfork.training.objectives import row_losses
from tuningfork.training.step import accumulate_gradients
from tuningfork.tuning.soft.method import SoftMethod, begin
from tuningfork.tuning.soft.prompt_tuning import PromptTuning
from tuningfork.types import TrainingRow

SCATTERED = TrainingRow(tuple(random_ids(9, seed=40)), (1, 4, 7))
ROWS = [*toy_rows(5, seed=3), SCATTERED]
IGNORED = -100


def gradients(
    model: FrozenModel, method: SoftMethod, rows: Sequence[TrainingRow], micro_batch_size: int
) -> tuple[float, list[Tensor]]:
    module = begin(method, model, model.embed(TEXT).float())
    loss = accumulate_gradients(model, method.materialize(module), rows, micro_batch_size=micro_batch_size)
    return loss, [cast(Tensor, parameter.grad) for parameter in module.parameters()]


def _answer_start(row: TrainingRow) -> int:
    """The first of the last label positions that stand side by side."""
    labels = set(row.label_positions)
    return max(position for position in labels if position - 1 not in labels)


def reference_loss(model: FrozenModel, prompt: SoftPrompt, rows: Sequence[TrainingRow]) -> Tensor:
    """Every row run whole behind its own copy of the prompt, labels masked, mean over what is left."""
    logits, labels = [], []
    for row in rows:
        masked = [token if index in row.label_positions else IGNORED for index, token in enumerate(row.ids)]
        logits.append(unshared_logits(model, prompt, row.ids, _answer_start(row))[:-1])
        labels += masked[1:]
    return cross_entropy(torch.cat(logits), torch.tensor(labels), ignore_index=IGNORED)


def reference_gradients(
    model: FrozenModel, method: SoftMethod, rows: Sequence[TrainingRow]
) -> tuple[float, list[Tensor]]:
    module = begin(method, model, model.embed(TEXT).float())
    loss = reference_loss(model, method.materialize(module), rows)
    return loss.item(), list(torch.autograd.grad(loss, list(module.parameters())))


def averaged_over_micro_batches(
    model: FrozenModel, prompt: SoftPrompt, rows: Sequence[TrainingRow], micro_batch_size: int
) -> float:
    """The usual fault: the mean of the micro-batches' means."""
    prefix = model.prefix([prompt])
    leaves = prefix.detached()
    starts = range(0, len(rows), micro_batch_size)
    total = 0.0
    for start in starts:
        loss = row_losses(model, leaves, rows[start : start + micro_batch_size]).mean() / len(starts)
        torch.autograd.backward(loss)
        total += loss.item()
    backward_into(prefix, leaves)
    return total


@pytest.mark.parametrize("micro_batch_size", [1, 2, 3, len(ROWS), 100])
def test_the_cut_into_micro_batches_changes_nothing(
    model: FrozenModel, method: SoftMethod, micro_batch_size: int
) -> None:
    expected_loss, expected = gradients(model, method, ROWS, len(ROWS))
    loss, found = gradients(model, method, ROWS, micro_batch_size)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert relative_difference(found, expected) < 1e-5


@pytest.mark.parametrize("micro_batch_size", [2, len(ROWS)])
def test_loss_and_gradient_equal_those_of_whole_rows_without_sharing(
    model: FrozenModel, method: SoftMethod, micro_batch_size: int
) -> None:
    expected_loss, expected = reference_gradients(model, method, ROWS)
    loss, found = gradients(model, method, ROWS, micro_batch_size)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert relative_difference(found, expected) < 1e-5


@pytest.mark.parametrize("architecture", [*RECURRENT, "gpt2", "gemma2"])
def test_other_architectures_give_the_same_gradient_too(architecture: str) -> None:
    model, method = tiny_model(architecture), PromptTuning()
    expected_loss, expected = reference_gradients(model, method, ROWS)
    loss, found = gradients(model, method, ROWS, micro_batch_size=2)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert relative_difference(found, expected) < 1e-4


@pytest.mark.parametrize("micro_batch_size", [1, 2, 3])
def test_the_mean_of_micro_batch_means_would_be_found_out(
    model: FrozenModel, method: SoftMethod, micro_batch_size: int
) -> None:
    expected_loss, expected = gradients(model, method, ROWS, len(ROWS))
    module = begin(method, model, model.embed(TEXT).float())
    loss = averaged_over_micro_batches(model, method.materialize(module), ROWS, micro_batch_size)
    found = [cast(Tensor, parameter.grad) for parameter in module.parameters()]
    assert abs(loss - expected_loss) / expected_loss > 1e-3
    assert relative_difference(found, expected) > 1e-2


@pytest.mark.parametrize("micro_batch_size", [1, 4, 100])
def test_a_loss_of_the_methods_own_counts_once(
    model: FrozenModel, method: SoftMethod, micro_batch_size: int
) -> None:
    def own_loss(prefix: PrefixState) -> Tensor:
        return torch.stack([3 * tensor.square().mean() for tensor in prefix.tensors()]).sum()

    module = begin(method, model, model.embed(TEXT).float())
    prompt = method.materialize(module)
    loss = accumulate_gradients(model, prompt, ROWS, micro_batch_size=micro_batch_size, own_loss=own_loss)
    found = [cast(Tensor, parameter.grad) for parameter in module.parameters()]
    module = begin(method, model, model.embed(TEXT).float())
    prompt = method.materialize(module)
    expected = reference_loss(model, prompt, ROWS) + own_loss(model.prefix([prompt]))
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    assert relative_difference(found, torch.autograd.grad(expected, list(module.parameters()))) < 1e-5


def test_gradients_are_added_to_those_already_there(model: FrozenModel, method: SoftMethod) -> None:
    module = begin(method, model, model.embed(TEXT).float())
    for _ in range(2):
        accumulate_gradients(model, method.materialize(module), ROWS, micro_batch_size=4)
    found = [cast(Tensor, parameter.grad) for parameter in module.parameters()]
    _, once = gradients(model, method, ROWS, 4)
    assert relative_difference(found, [2 * gradient for gradient in once]) < 1e-6


def test_a_small_step_against_the_gradient_lowers_the_loss_as_it_promises(
    model: FrozenModel, method: SoftMethod
) -> None:
    module = begin(method, model, model.embed(TEXT).float())
    before = accumulate_gradients(model, method.materialize(module), ROWS, micro_batch_size=2)
    size, promised = 1e-3, 0.0
    with torch.no_grad():
        for parameter in module.parameters():
            gradient = cast(Tensor, parameter.grad)
            promised += size * float(gradient.square().sum())
            parameter.sub_(size * gradient)
    after = accumulate_gradients(model, method.materialize(module), ROWS, micro_batch_size=2)
    assert before - after == pytest.approx(promised, rel=0.05)
