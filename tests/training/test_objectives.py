from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tests.tiny_models import RECURRENT, random_ids, tiny_model
from tests.training.toy_task import (
    ANSWERS,
    TEXT,
    RecordingSink,
    toy_candidate,
    toy_rows,
    train_toy,
    unshared_logits,
)
from tests.unpadded_reference import relative_difference, text_key_values
from tuningfork.errors import PromptError
from tuningfork.models.artefacts import HeadedPrefix, InputPrompt, SoftPrompt
from tuningfork.models.classification_head import ClassificationHead
from tuningfork.models.frozen import FrozenModel
from tuningfork.training.objectives import ChoiceObjective, Objective, TokenObjective, row_losses
from tuningfork.training.step import accumulate_gradients
from tuningfork.tuning.soft.method import SoftMethod, begin
from tuningfork.tuning.soft.prompt_tuning import PromptTuning
from tuningfork.types import TrainingRow

SCATTERED = TrainingRow(tuple(random_ids(9, seed=40)), (1, 4, 7))
ROWS = toy_rows(6, seed=3)
# One begins like another, and one is a single token.
CHOICES = (*ANSWERS, (20, 21, 50), (60,))


def choice_reference(
    model: FrozenModel, prompt: SoftPrompt, rows: Sequence[TrainingRow], *, normalizes_length: bool
) -> Tensor:
    """The loss (B,) of every row, each row with each choice run whole behind its own copy of the prompt."""
    losses = []
    for row in rows:
        assert row.choice is not None
        inputs = row.ids[: row.label_positions[0]]
        scores = []
        for choice in CHOICES:
            after = unshared_logits(model, prompt, [*inputs, *choice], len(inputs))[len(inputs) - 1 : -1]
            score = after.log_softmax(dim=-1)[range(len(choice)), choice].sum()
            scores.append(score / len(choice) if normalizes_length else score)
        losses.append(cross_entropy(torch.stack(scores), torch.tensor(row.choice)))
    return torch.stack(losses)


def gradients(
    model: FrozenModel, method: SoftMethod, objective: Objective, micro_batch_size: int
) -> tuple[float, list[Tensor]]:
    module = begin(method, model, model.embed(TEXT).float())
    loss = accumulate_gradients(
        model, method.materialize(module), ROWS, micro_batch_size=micro_batch_size, objective=objective
    )
    return loss, [cast(Tensor, parameter.grad) for parameter in module.parameters()]


@torch.no_grad()
def test_token_losses_stand_in_the_order_of_rows_and_labels(model: FrozenModel) -> None:
    prompt, rows = InputPrompt(model.embed(TEXT)), [*ROWS, SCATTERED]
    expected = [
        -unshared_logits(model, prompt, row.ids, len(row.ids))[position - 1].log_softmax(dim=0)[
            row.ids[position]
        ]
        for row in rows
        for position in row.label_positions
    ]
    found = TokenObjective().losses(model, model.prefix([prompt]), rows)
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-4, atol=1e-5)
    assert TokenObjective().count(rows) == len(found)


@torch.no_grad()
def test_what_follows_the_last_label_does_not_count(model: FrozenModel) -> None:
    prefix = model.prefix([TEXT])
    longer = TrainingRow((*SCATTERED.ids, 5, 6, 7), SCATTERED.label_positions)
    shorter = TrainingRow(SCATTERED.ids[:8], SCATTERED.label_positions)
    assert torch.equal(row_losses(model, prefix, [longer]), row_losses(model, prefix, [shorter]))


@pytest.mark.parametrize("normalizes_length", [False, True])
@pytest.mark.parametrize("micro_batch_size", [1, 4, len(ROWS)])
def test_choices_give_the_loss_and_gradient_of_whole_rows_without_sharing(
    model: FrozenModel, method: SoftMethod, normalizes_length: bool, micro_batch_size: int
) -> None:
    objective = ChoiceObjective(CHOICES, normalizes_length=normalizes_length)
    loss, found = gradients(model, method, objective, micro_batch_size)
    module = begin(method, model, model.embed(TEXT).float())
    expected = choice_reference(
        model, method.materialize(module), ROWS, normalizes_length=normalizes_length
    ).mean()
    assert loss == pytest.approx(expected.item(), rel=1e-4)
    assert relative_difference(found, torch.autograd.grad(expected, list(module.parameters()))) < 1e-4


@pytest.mark.parametrize("architecture", [*RECURRENT, "gpt2", "gemma2"])
def test_choices_give_the_same_gradient_on_other_architectures(architecture: str) -> None:
    model, method = tiny_model(architecture), PromptTuning()
    loss, found = gradients(model, method, ChoiceObjective(CHOICES, normalizes_length=False), 4)
    module = begin(method, model, model.embed(TEXT).float())
    expected = choice_reference(model, method.materialize(module), ROWS, normalizes_length=False).mean()
    assert loss == pytest.approx(expected.item(), rel=1e-4)
    assert relative_difference(found, torch.autograd.grad(expected, list(module.parameters()))) < 1e-4


@torch.no_grad()
def test_choice_losses_are_those_of_scoring(model: FrozenModel) -> None:
    prefix = model.prefix([TEXT])
    scores = model.score([row.ids[: row.label_positions[0]] for row in ROWS], prefix, CHOICES)
    expected = -scores.log_softmax(dim=1)[range(len(ROWS)), [cast(int, row.choice) for row in ROWS]]
    objective = ChoiceObjective(CHOICES, normalizes_length=False)
    torch.testing.assert_close(objective.losses(model, prefix, ROWS), expected, rtol=1e-4, atol=1e-5)
    assert objective.count(ROWS) == len(ROWS)


def test_objectives_know_how_many_labels_there_are() -> None:
    assert ChoiceObjective(CHOICES, normalizes_length=False).num_labels == len(CHOICES)
    assert TokenObjective().num_labels is None


@torch.no_grad()
def test_what_a_head_says_is_not_divided_by_the_lengths_of_labels(model: FrozenModel) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(len(CHOICES), model.hidden_size, generator=generator)
    head = ClassificationHead(weight, torch.zeros(len(CHOICES)))
    prefix = model.prefix([HeadedPrefix(text_key_values(model, TEXT), head)])
    as_it_is, normalized = (
        ChoiceObjective(CHOICES, normalizes_length=flag).losses(model, prefix, ROWS) for flag in (False, True)
    )
    assert torch.equal(normalized, as_it_is)
    with pytest.raises(PromptError, match="tells labels apart and says no words"):
        TokenObjective().losses(model, prefix, ROWS)


@torch.no_grad()
def test_smoothed_labels_share_some_of_the_target(model: FrozenModel) -> None:
    prefix = model.prefix([TEXT])
    scores = model.score([row.ids[: row.label_positions[0]] for row in ROWS], prefix, CHOICES)
    found = scores.log_softmax(dim=1)
    right = found[range(len(ROWS)), [cast(int, row.choice) for row in ROWS]]
    expected = -(0.7 * right + 0.3 * found.mean(dim=1))
    objective = ChoiceObjective(CHOICES, normalizes_length=False, label_smoothing=0.3)
    torch.testing.assert_close(objective.losses(model, prefix, ROWS), expected, rtol=1e-4, atol=1e-5)


def test_learning_choices_lowers_their_loss(method: SoftMethod, tmp_path: Path) -> None:
    model, sink = tiny_model("llama"), RecordingSink()
    objective = ChoiceObjective(ANSWERS, normalizes_length=False)
    # The shift of one token, and features that are a mean, learn what the first token decides more slowly.
    steps, factor = (100, 2) if method.kind == "instance" else (30, 6)
    candidate = toy_candidate(model, method, objective=objective, max_steps=steps, validate_every=steps)
    train_toy(model, candidate, tmp_path / "toy", sink=sink)
    assert sum(sink.losses[-5:]) / 5 < sink.losses[0] / factor


def test_a_row_without_its_choice_is_refused(model: FrozenModel) -> None:
    rows = [*ROWS, replace(ROWS[0], choice=None)]
    with pytest.raises(ValueError, match="every row needs its choice to be told apart from the others"):
        ChoiceObjective(CHOICES, normalizes_length=False).losses(model, model.prefix([TEXT]), rows)


def test_a_row_that_does_not_end_in_its_choice_is_refused(model: FrozenModel) -> None:
    row = ROWS[0]
    wrong = replace(row, ids=(*row.ids[:-1], row.ids[-1] + 1))
    with pytest.raises(ValueError, match=r"a row of choice \d must end in \(.*\), found \("):
        ChoiceObjective(CHOICES, normalizes_length=False).losses(model, model.prefix([TEXT]), [wrong])
